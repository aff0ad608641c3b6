-- SQLite, Postgres and MySQL all take this: natural keys need no generated ids, and VARCHAR can be a key in MySQL.
CREATE TABLE band (
    name VARCHAR(80) NOT NULL PRIMARY KEY,
    founded INTEGER NOT NULL
);

CREATE TABLE concert (
    band VARCHAR(80) NOT NULL,
    day VARCHAR(10) NOT NULL,
    venue VARCHAR(80) NOT NULL,
    PRIMARY KEY (band, day),
    FOREIGN KEY (band) REFERENCES band (name)
);
