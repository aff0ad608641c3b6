CREATE TABLE band (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, genre TEXT);
CREATE TABLE member (id INTEGER PRIMARY KEY, band INTEGER NOT NULL REFERENCES band ON DELETE CASCADE, name TEXT NOT NULL);
CREATE INDEX member_name ON member (lower(name));
CREATE TABLE label (id INTEGER PRIMARY KEY, name TEXT) STRICT;
INSERT INTO band (name, genre) VALUES ('Pythonistas', 'folk'), ('Rustaceans', 'jazz'), ('C-Sharps', NULL);
INSERT INTO member (band, name) SELECT id, name || ' one' FROM band;
