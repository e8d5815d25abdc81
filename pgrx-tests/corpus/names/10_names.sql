SELECT * FROM "Odd Schema"."Odd ""Table""" WHERE "Key" = 3;
SELECT "select", "a.b", "ünï" FROM "Odd Schema"."Odd ""Table""" o WHERE o."Key" < 5;
SELECT count(*) AS "Count (*)", max("a.b") AS "max ""ab""" FROM "Odd Schema"."Odd ""Table""" GROUP BY "ünï";
SELECT "Odd ""Table""" FROM "Odd Schema"."Odd ""Table""" WHERE "Key" = 1;
SELECT "Odd ""Table"""."select" FROM "Odd Schema"."Odd ""Table""" WHERE "Key" = 2;
UPDATE "Odd Schema"."Odd ""Table""" SET "select" = 'from' WHERE "Key" = 4 RETURNING "select", "Key";
UPDATE "Odd Schema"."Odd ""Table""" AS "A.B" SET "a.b" = "A.B"."a.b" + 1;
DELETE FROM "Odd Schema"."Odd ""Table""" WHERE "ünï" = 'ü7' RETURNING *;
INSERT INTO "Odd Schema"."Odd ""Table""" ("Key", "a.b") VALUES (50, 1), (51, 2) RETURNING "Key" AS "K k";
-- @error 23505
INSERT INTO "Odd Schema"."Odd ""Table""" ("Key") VALUES (50);
SELECT * FROM "表" WHERE "键" = 3;
SELECT "表"."值", t."键" FROM "表" JOIN "表" t ON "表"."键" = t."键" + 1;
COPY "表" ("键", "值") FROM STDIN;
100	拷贝
\.
SELECT "值" FROM "表" WHERE "键" >= 100;
COPY "表" TO STDOUT WITH (FORMAT csv, HEADER);
SELECT * FROM a234567890123456789012345678901234567890123456789012345678901bc a JOIN a234567890123456789012345678901234567890123456789012345678901bd b USING (k);
SELECT count(*) FROM a234567890123456789012345678901234567890123456789012345678901bc;
-- @error 23514
INSERT INTO a234567890123456789012345678901234567890123456789012345678901bd VALUES (99, 0);
-- @error 23505
INSERT INTO a234567890123456789012345678901234567890123456789012345678901bc VALUES (1, 1);
UPDATE a234567890123456789012345678901234567890123456789012345678901bc SET c234567890123456789012345678901234567890123456789012345678901bc = 5 WHERE k = 1;
SELECT "user", "table" FROM "order" WHERE "user" = 3;
SELECT o."table" AS "group" FROM "order" o ORDER BY 1;
SELECT "user", "drop table" FROM "order" JOIN "Ref's" ON id = "user";
SELECT user, current_user = "user"::text FROM "order" WHERE "user" = 1;
SET search_path = "Odd Schema", public;
SELECT count(*) FROM "Odd ""Table""" JOIN "order" ON "Key" = "user";
INSERT INTO "Odd ""Table""" VALUES (60, '; DROP TABLE "order"; --', 1, E'a\\b''c"d$e$1{}');
SELECT * FROM "Odd ""Table""" WHERE "ünï" = E'a\\b''c"d$e$1{}';
SELECT * FROM "Odd ""Table""" WHERE "select" LIKE '%DROP%' AND "Key" = 60;
CREATE SCHEMA other;
CREATE TABLE other."order" ("user" INT, v TEXT);
INSERT INTO other."order" VALUES (1, 'other');
SET search_path = other, public;
SELECT * FROM "order";
SELECT a.*, b.* FROM "order" a JOIN public."order" b USING ("user");
SET search_path = public;
WITH "order" AS (SELECT 1 AS "user") SELECT * FROM "order";
WITH w AS (SELECT * FROM "order" WHERE "user" < 3) SELECT "order"."table" FROM w AS "order";
SELECT "t$1"."user" AS "$1", '$1' AS "?column?" FROM "order" AS "t$1" WHERE "user" = 2;
SELECT "user" AS "USER", "user" AS "user", 1, 2 FROM "order" WHERE "user" = 2;
