-- Migrations that make an extension and then an index, a constraint or a column with it.
CREATE EXTENSION btree_gist;
CREATE EXTENSION pg_trgm;
CREATE EXTENSION bloom;
CREATE INDEX note_body ON note USING gist (body);
ALTER TABLE note ADD CONSTRAINT apart EXCLUDE USING gist (id WITH =, during WITH &&);
DROP INDEX note_body;
CREATE INDEX note_trgm ON note USING gin (body gin_trgm_ops);
CREATE INDEX CONCURRENTLY note_bloom ON note USING bloom (id);
CREATE INDEX publisher_trgm ON publisher USING gin (name gin_trgm_ops);
INSERT INTO note VALUES (1, 'one', '[1,5)'), (2, 'two', '[1,5)');
-- @error 23P01
INSERT INTO note VALUES (1, 'one', '[4,9)');
INSERT INTO note VALUES (1, 'one', '[5,9)');
SELECT id, body FROM note WHERE body % 'twos';
SELECT name, similarity(name, 'p') FROM publisher WHERE name % 'p';
CREATE EXTENSION hstore;
ALTER TABLE note ADD COLUMN more hstore DEFAULT 'a=>1';
CREATE INDEX note_more ON note USING gin (more);
SELECT id, more -> 'a' FROM note WHERE more ? 'a';
CREATE EXTENSION fuzzystrmatch;
ALTER TABLE note ADD COLUMN sound TEXT GENERATED ALWAYS AS (soundex(body)) STORED;
CREATE INDEX note_sound ON note (soundex(body), id);
SELECT id, sound FROM note;
DROP INDEX note_trgm, note_sound;
CREATE EXTENSION citext;
ALTER TABLE note DROP sound, ALTER body TYPE citext;
SELECT id FROM note WHERE body = 'ONE';
-- A collation that comes to a column later, beside the same type.
CREATE COLLATION case_insensitive (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
ALTER TABLE author ALTER COLUMN name TYPE TEXT COLLATE case_insensitive;
ALTER TABLE task ADD COLUMN c VARCHAR(10) DEFAULT 'x';
ALTER TABLE task ALTER COLUMN c TYPE VARCHAR(20) COLLATE case_insensitive USING c::VARCHAR(20);
SELECT name FROM author WHERE name = 'A';
SELECT count(*) FROM task WHERE c = 'X';
ALTER TABLE author ALTER COLUMN name TYPE TEXT;
ALTER TABLE task DROP COLUMN c;
