-- What transactions and sessions are made of: savepoints, cursors, settings, temporary tables,
-- procedures, locks.
CREATE TABLE t (k INT PRIMARY KEY, v TEXT, n INT CHECK (n < 1000));
-- @distribute t k
CREATE TABLE u (k INT, n INT, CONSTRAINT u_once UNIQUE (k, n) DEFERRABLE INITIALLY IMMEDIATE);
-- @distribute u k colocate t
CREATE TABLE p (k INT, n INT, PRIMARY KEY (k, n));
-- @distribute p k colocate t
CREATE TABLE f (k INT, n INT);
-- @distribute f k colocate t
ALTER TABLE f ADD CONSTRAINT f_p FOREIGN KEY (k, n) REFERENCES p DEFERRABLE;
CREATE TABLE r (id INT PRIMARY KEY, v TEXT);
-- @reference r
CREATE TABLE l (k INT, v TEXT);
-- @compare l
INSERT INTO t SELECT i, 't' || i, i FROM generate_series(1, 60) i;
INSERT INTO u SELECT i % 20, i FROM generate_series(1, 60) i;
INSERT INTO r SELECT i, 'r' || i FROM generate_series(1, 5) i;
INSERT INTO l SELECT i, 'l' || i FROM generate_series(1, 5) i;
-- @cluster SET citus.enable_ddl_propagation = on
CREATE FUNCTION fail_at(a INT, b INT) RETURNS INT LANGUAGE plpgsql AS $$
BEGIN
    IF a = b THEN RAISE EXCEPTION 'stop at %', a USING ERRCODE = 'P0009'; END IF;
    RETURN a;
END $$;
