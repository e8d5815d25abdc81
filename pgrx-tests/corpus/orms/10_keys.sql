-- Several foreign keys to reference tables in one statement.
CREATE TABLE book (id INT PRIMARY KEY, author_id INT REFERENCES author, publisher_id INT REFERENCES publisher);
INSERT INTO book VALUES (1, 1, 1), (2, 2, 2);
-- @error 23503
INSERT INTO book VALUES (3, 9, 1);
-- @error 23503
INSERT INTO book VALUES (3, 1, 9);
-- @error 23503
DELETE FROM author WHERE id = 1;
CREATE TABLE pair (id INT PRIMARY KEY, one INT, two INT REFERENCES pair, CONSTRAINT pair_one FOREIGN KEY (one) REFERENCES author, FOREIGN KEY (two) REFERENCES author);
-- @error 23503
INSERT INTO pair VALUES (1, 1, 9);
INSERT INTO pair VALUES (1, 1, 1);
CREATE TABLE later (id INT PRIMARY KEY, author_id INT, publisher_id INT, book_id INT);
INSERT INTO later VALUES (1, 1, 1, 1), (2, 2, 2, 2);
-- @error 23514
ALTER TABLE later ADD FOREIGN KEY (author_id) REFERENCES author, ADD FOREIGN KEY (id) REFERENCES publisher, ADD CONSTRAINT bad CHECK (id < 2), ADD FOREIGN KEY (book_id) REFERENCES book DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE later ADD FOREIGN KEY (author_id) REFERENCES author, ADD FOREIGN KEY (publisher_id) REFERENCES publisher, ADD FOREIGN KEY (book_id) REFERENCES book DEFERRABLE INITIALLY DEFERRED;
-- @error 23503
UPDATE later SET publisher_id = 3;
DELETE FROM later;
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid IN ('book'::regclass, 'pair'::regclass, 'later'::regclass) ORDER BY 1;
DROP TABLE pair, later, book;
-- A key to a distributed table makes a table wait for its own distribution, and those that reference it.
CREATE TABLE near (t INT, id INT, r INT REFERENCES author, PRIMARY KEY (t, id));
CREATE TABLE far (t INT, n INT, r INT REFERENCES author, FOREIGN KEY (t, n) REFERENCES near);
ALTER TABLE near ADD FOREIGN KEY (t, id) REFERENCES tenant;
-- @error 23503
INSERT INTO far VALUES (1, 42, NULL);
-- @error 23503
INSERT INTO near VALUES (1, 42, NULL);
INSERT INTO near VALUES (1, 1, 1);
INSERT INTO far VALUES (1, 1, 2);
-- @error 23503
DELETE FROM near;
DROP TABLE far, near;
