-- Tables as object-relational mappers make them, and what they do with these.
CREATE TABLE author (id SERIAL PRIMARY KEY, name TEXT UNIQUE);
-- @reference author
CREATE TABLE publisher (id SERIAL PRIMARY KEY, name TEXT UNIQUE);
-- @reference publisher
INSERT INTO author (name) VALUES ('a'), ('b'), ('c');
INSERT INTO publisher (name) VALUES ('p'), ('q');
CREATE TABLE note (id INT, body TEXT, during INT4RANGE);
-- @distribute note id
CREATE TABLE task (k INT PRIMARY KEY, v INT);
-- @distribute task k
INSERT INTO task SELECT i, i FROM generate_series(1, 20) i;
CREATE TABLE tenant (t INT, id INT, PRIMARY KEY (t, id));
-- @distribute tenant t
INSERT INTO tenant SELECT i % 3, i FROM generate_series(1, 9) i;
