-- Collations of the user's that columns have: nodes follow when they get another name.
SELECT max(v), min(v), max(n), min(n) FROM w;
ALTER COLLATION swedish RENAME TO "Swedish ones";
-- @ordered
SELECT v FROM w ORDER BY v LIMIT 5;
SELECT max(v COLLATE "Swedish ones"), min(n COLLATE "Swedish ones") FROM w;
-- @error
SELECT max(v COLLATE swedish) FROM w;
ALTER COLLATION numbers SET SCHEMA other_place;
-- @ordered
SELECT n FROM w WHERE n COLLATE other_place.numbers > 'n3' ORDER BY n COLLATE other_place.numbers DESC LIMIT 5;
ALTER COLLATION other_place.numbers RENAME TO swedish;
ALTER COLLATION unused RENAME TO numbers;
SELECT max(n COLLATE other_place.swedish) FROM w;
BEGIN;
ALTER COLLATION other_place.swedish RENAME TO again;
SELECT max(n COLLATE other_place.again) FROM w;
ROLLBACK;
SELECT max(n COLLATE other_place.swedish) FROM w;
-- Another one gets the name that the first had.
CREATE COLLATION swedish (provider = icu, locale = 'de');
ALTER TABLE w ADD COLUMN d TEXT COLLATE swedish;
UPDATE w SET d = v;
SELECT max(d), min(d) FROM w;
-- What is dropped here stays on nodes, and gives way.
ALTER TABLE w DROP COLUMN d;
DROP COLLATION swedish;
ALTER COLLATION "Swedish ones" RENAME TO swedish;
SELECT max(v COLLATE swedish) FROM w;
-- @error 42704
ALTER COLLATION nowhere RENAME TO swedish;
