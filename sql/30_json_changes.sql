-- JSON output: every kind of change.
\pset format unaligned
\pset tuples_only on
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET intervalstyle = 'postgres';

CREATE SCHEMA json_changes;
SET search_path = json_changes;
CREATE FUNCTION changes(VARIADIC options text[] DEFAULT '{}') RETURNS SETOF json LANGUAGE sql AS $$
	SELECT data::json FROM pg_logical_slot_get_changes('json_changes', NULL, NULL, VARIADIC ARRAY['format', 'json'] || options)
$$;
SELECT slot_name FROM pg_create_logical_replication_slot('json_changes', 'replication_plugin');

-- insert, update, update of the key, delete; one object a line, one transaction
CREATE TABLE item (id int PRIMARY KEY, name text, n int);
BEGIN;
INSERT INTO item VALUES (1, 'one', 1), (2, 'two', 2);
UPDATE item SET name = 'uno' WHERE id = 1;
UPDATE item SET id = 3 WHERE id = 2;
UPDATE item SET id = 3, n = 30 WHERE id = 3;
DELETE FROM item WHERE id = 3;
COMMIT;
SELECT changes();

-- a key of two columns
CREATE TABLE pairs (a int, b text, v int, PRIMARY KEY (b, a));
INSERT INTO pairs VALUES (1, 'x', 1);
UPDATE pairs SET v = 2;
UPDATE pairs SET b = 'y';
DELETE FROM pairs;
SELECT changes();

-- REPLICA IDENTITY FULL: the whole old row, nulls too
CREATE TABLE fully (a int, b text, c numeric);
ALTER TABLE fully REPLICA IDENTITY FULL;
INSERT INTO fully VALUES (1, 'x', NULL), (1, 'x', NULL);
UPDATE fully SET c = 5;
DELETE FROM fully;
SELECT changes();

-- REPLICA IDENTITY NOTHING, and tables without a key: nobody can tell which row it was
CREATE TABLE nothing (id int PRIMARY KEY, v int);
ALTER TABLE nothing REPLICA IDENTITY NOTHING;
CREATE TABLE keyless (a int, b text);
INSERT INTO nothing VALUES (1, 1);
UPDATE nothing SET v = 2;
DELETE FROM nothing;
INSERT INTO keyless VALUES (1, 'x');
UPDATE keyless SET b = 'y';
DELETE FROM keyless;
SELECT changes();

-- REPLICA IDENTITY USING INDEX
CREATE TABLE by_index (id int PRIMARY KEY, code text NOT NULL UNIQUE, v int);
ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_code_key;
INSERT INTO by_index VALUES (1, 'a', 1);
UPDATE by_index SET v = 2;
UPDATE by_index SET id = 2;
UPDATE by_index SET code = 'b';
DELETE FROM by_index;
SELECT changes();

-- TOAST: a value that the update did not touch is not in the WAL, unless the old row is
CREATE TABLE doc (id int PRIMARY KEY, body text, note text);
ALTER TABLE doc ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE FUNCTION short_changes() RETURNS SETOF text LANGUAGE sql AS $$
	SELECT regexp_replace(c::text, '(x|y){100,}', '<many \1>', 'g') FROM changes() c
$$;
INSERT INTO doc VALUES (1, repeat('x', 3000), 'a');
UPDATE doc SET note = 'b';
UPDATE doc SET body = repeat('y', 3000);
UPDATE doc SET body = 'short';
UPDATE doc SET id = 2, body = repeat('x', 3000);
UPDATE doc SET id = 3;
DELETE FROM doc;
SELECT short_changes();
ALTER TABLE doc REPLICA IDENTITY FULL;
INSERT INTO doc VALUES (1, repeat('x', 3000), 'a');
UPDATE doc SET note = 'b';
DELETE FROM doc;
SELECT short_changes();

-- a key that is TOASTed itself
CREATE TABLE toasted_key (k text PRIMARY KEY, v int);
ALTER TABLE toasted_key ALTER COLUMN k SET STORAGE EXTERNAL;
INSERT INTO toasted_key VALUES (repeat('x', 2500), 1);
UPDATE toasted_key SET v = 2;
DELETE FROM toasted_key;
SELECT short_changes();

-- partitions appear under their own names; an update that moves a row is a delete and an insert
CREATE TABLE part (id int, region text, v int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE part_eu PARTITION OF part FOR VALUES IN ('eu');
CREATE TABLE part_us (v int, region text NOT NULL, id int NOT NULL);
ALTER TABLE part ATTACH PARTITION part_us FOR VALUES IN ('us');
INSERT INTO part VALUES (1, 'eu', 10), (2, 'us', 20);
UPDATE part SET v = v + 1;
UPDATE part SET region = 'us' WHERE id = 1;
DELETE FROM part WHERE id = 2;
TRUNCATE part;
SELECT changes();

-- truncate
CREATE TABLE child (id int PRIMARY KEY, item int REFERENCES item);
INSERT INTO child VALUES (1, 1);
TRUNCATE item, child;
TRUNCATE child;
TRUNCATE item CASCADE;
SELECT changes();

-- subtransactions: what was rolled back is not there
BEGIN;
INSERT INTO item VALUES (10, 'kept', 0);
SAVEPOINT a;
INSERT INTO item VALUES (11, 'rolled back', 0);
ROLLBACK TO a;
SAVEPOINT b;
INSERT INTO item VALUES (12, 'kept too', 0);
SAVEPOINT c;
UPDATE item SET n = 1 WHERE id = 10;
RELEASE b;
COMMIT;
BEGIN;
INSERT INTO item VALUES (13, 'rolled back', 0);
ROLLBACK;
SELECT changes();

-- upserts and merges are what they do; copy and insert ... select
INSERT INTO item VALUES (10, 'again', 5) ON CONFLICT (id) DO UPDATE SET n = excluded.n;
INSERT INTO item VALUES (10, 'again', 5) ON CONFLICT DO NOTHING;
MERGE INTO item USING (VALUES (12, 7), (14, 8)) s(id, n) ON item.id = s.id
	WHEN MATCHED THEN UPDATE SET n = s.n WHEN NOT MATCHED THEN INSERT VALUES (s.id, 'merged', s.n);
COPY item FROM stdin;
20	copied	1
21	\N	\N
\.
SELECT changes();

-- changes of the table inside one transaction, and a rewrite
BEGIN;
INSERT INTO item VALUES (30, 'before', 0);
ALTER TABLE item ADD COLUMN extra text DEFAULT 'def';
INSERT INTO item VALUES (31, 'after', 0);
ALTER TABLE item RENAME COLUMN name TO title;
ALTER TABLE item RENAME TO things;
UPDATE things SET n = 1 WHERE id = 31;
ALTER TABLE things ALTER COLUMN n TYPE bigint;
INSERT INTO things VALUES (32, 'at last', 0);
COMMIT;
ALTER SCHEMA json_changes RENAME TO json_changes_2;
INSERT INTO json_changes_2.things VALUES (33, 'new schema');
ALTER SCHEMA json_changes_2 RENAME TO json_changes;
INSERT INTO things VALUES (34, 'old schema');
SELECT changes();

-- messages; content that is no text is hexadecimal
BEGIN;
SELECT 'x' FROM pg_logical_emit_message(true, 'pre"fix', 'in the "transaction"');
INSERT INTO child VALUES (40, NULL);
SELECT 'x' FROM pg_logical_emit_message(false, 'prefix', 'at once');
COMMIT;
SELECT 'x' FROM pg_logical_emit_message(true, 'prefix', '\x00ff41'::bytea);
SELECT 'x' FROM pg_logical_emit_message(true, '', '');
BEGIN;
SELECT 'x' FROM pg_logical_emit_message(true, 'prefix', 'rolled back');
SELECT 'x' FROM pg_logical_emit_message(false, 'prefix', 'rolled back, and there nevertheless');
ROLLBACK;
INSERT INTO child VALUES (41, NULL);
SELECT changes();

-- tables made from queries
CREATE TABLE made AS SELECT 1 AS a;
SELECT changes();

-- temporary and unlogged tables, sequences, materialized views, empty transactions: nothing
CREATE MATERIALIZED VIEW view AS SELECT * FROM made;
CREATE UNIQUE INDEX ON view (a);
REFRESH MATERIALIZED VIEW view;
INSERT INTO made VALUES (2);
REFRESH MATERIALIZED VIEW CONCURRENTLY view;
CREATE TEMP TABLE temporary (a int);
CREATE UNLOGGED TABLE unlogged (a int);
CREATE SEQUENCE counter;
INSERT INTO temporary VALUES (1);
INSERT INTO unlogged VALUES (1);
SELECT nextval('counter');
BEGIN; COMMIT;
SELECT changes();

SELECT pg_drop_replication_slot('json_changes');
DROP SCHEMA json_changes CASCADE;
