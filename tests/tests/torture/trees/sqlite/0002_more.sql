CREATE VIEW folk AS SELECT id, name FROM band WHERE genre = 'folk';
CREATE TRIGGER note AFTER INSERT ON member BEGIN UPDATE band SET genre = genre WHERE id = NEW.band; END;
CREATE VIRTUAL TABLE song USING fts5 (title);
INSERT INTO song VALUES ('the first song');
PRAGMA user_version = 7;
