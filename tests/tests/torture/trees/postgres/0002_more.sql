CREATE VIEW folk AS SELECT id, name FROM band WHERE genre = 'folk';
CREATE MATERIALIZED VIEW members AS SELECT band, count(*) AS members FROM member GROUP BY band;
CREATE FUNCTION loud(name text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper(name)';
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := btrim(NEW.name); RETURN NEW; END $$;
CREATE TRIGGER note BEFORE INSERT OR UPDATE ON band FOR EACH ROW EXECUTE FUNCTION note();
-- A server that recovers from a crash empties it: https://www.postgresql.org/docs/current/sql-createtable.html
CREATE UNLOGGED TABLE seen (band integer PRIMARY KEY, times integer NOT NULL);
INSERT INTO seen VALUES (1, 10), (2, 20);
-- Longer than a page, so that it is stored outside the table.
CREATE TABLE cover (band integer PRIMARY KEY, picture text);
ALTER TABLE cover ALTER picture SET STORAGE EXTERNAL;
INSERT INTO cover VALUES (1, repeat('picture', 5000));
COMMENT ON TABLE band IS 'Who plays.';
GRANT SELECT ON band TO PUBLIC;
CREATE SCHEMA archive CREATE TABLE tour (id integer PRIMARY KEY, name text);
CREATE STATISTICS member_pairs ON band, name FROM member;
ALTER TABLE label ADD COLUMN gone integer;
ALTER TABLE label DROP COLUMN gone;
