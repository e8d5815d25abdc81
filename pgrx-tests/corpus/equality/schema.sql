-- Keys that are equal without being the same: citext, nondeterministic collations.
CREATE EXTENSION IF NOT EXISTS citext;
-- An extension is made on every node by hand.
-- @cluster SELECT run_command_on_workers('CREATE EXTENSION IF NOT EXISTS citext')
CREATE COLLATION IF NOT EXISTS nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE ci (k CITEXT, n INT);
-- @distribute ci k
INSERT INTO ci VALUES ('Abc', 1), ('ABC', 2), ('xyz', 3);
CREATE TABLE nd (k TEXT COLLATE nocase, n INT, o TEXT COLLATE nocase);
-- @distribute nd k
INSERT INTO nd VALUES ('Abc', 1, 'X'), ('ABC', 2, 'x'), ('xyz', 3, 'Y'), ('XYZ', 4, 'y');
