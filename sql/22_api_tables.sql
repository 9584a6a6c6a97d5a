--
-- Tables of a member: the view tables, taking tables out and in, the internal triggers,
-- tombstones, preflight().
--
\set home :DBNAME
CREATE DATABASE regression_tables TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C';
ALTER DATABASE regression_tables SET lc_messages = 'C';
\c regression_tables
SET client_min_messages = warning;
\set VERBOSITY default
CREATE EXTENSION replication_plugin;
CREATE SCHEMA at;
SET search_path = at;

CREATE FUNCTION dsn() RETURNS text LANGUAGE sql AS $$
	SELECT format('host=%s port=%s user=%s dbname=%s', split_part(current_setting('unix_socket_directories'), ',', 1),
		current_setting('port'), session_user, current_database())
$$;
-- The internal triggers of a table.
CREATE FUNCTION triggers(tab oid) RETURNS TABLE (trigger text) LANGUAGE sql AS $$
	SELECT concat_ws(' ', CASE WHEN tgtype::int & 2 > 0 THEN 'BEFORE' ELSE 'AFTER' END,
		CASE WHEN tgtype::int & 8 > 0 THEN 'DELETE' END, CASE WHEN tgtype::int & 16 > 0 THEN 'UPDATE' END,
		(SELECT 'OF ' || string_agg(attname, ', ' ORDER BY place) FROM unnest(tgattr) WITH ORDINALITY u(a, place)
			JOIN pg_attribute ON attrelid = tgrelid AND attnum = a),
		CASE WHEN tgtype::int & 32 > 0 THEN 'TRUNCATE' END, CASE WHEN tgtype::int & 1 > 0 THEN 'ROW' ELSE 'STATEMENT' END,
		p.proname, CASE tgenabled WHEN 'A' THEN 'always' END)
	FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
	WHERE t.tgrelid = tab AND t.tgisinternal AND p.pronamespace = 'replication_plugin'::regnamespace
	ORDER BY 1
$$;
CREATE FUNCTION triggers(tab regclass) RETURNS TABLE (trigger text) LANGUAGE sql AS $$ SELECT triggers(tab::oid) $$;
-- Tombstones by table.
CREATE FUNCTION tombstones() RETURNS TABLE ("table" text, keys bigint) LANGUAGE sql AS $$
	SELECT relid::regclass::text COLLATE "C", count(*) FROM replication_plugin.tombstone GROUP BY relid ORDER BY 1
$$;

CREATE TABLE with_key (id int PRIMARY KEY, v text);
CREATE TABLE two_columns (a text, v int, b int, PRIMARY KEY (b, a));
CREATE TABLE without_key (v text);
CREATE TABLE full_no_key (v text);
ALTER TABLE full_no_key REPLICA IDENTITY FULL;
CREATE TABLE full_with_key (id int PRIMARY KEY, v text);
ALTER TABLE full_with_key REPLICA IDENTITY FULL;
CREATE TABLE by_index (id int PRIMARY KEY, a int NOT NULL, b int NOT NULL, c int);
CREATE UNIQUE INDEX by_index_ab ON by_index (b, a) INCLUDE (c);
ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_ab;
CREATE TABLE nothing_with_key (id int PRIMARY KEY, v text);
ALTER TABLE nothing_with_key REPLICA IDENTITY NOTHING;
CREATE TABLE unique_only (id int NOT NULL UNIQUE, v text);
CREATE TABLE parted (id int, v text, k int, PRIMARY KEY (k, id)) PARTITION BY LIST (k);
CREATE TABLE part1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE part2 PARTITION OF parted FOR VALUES IN (2) PARTITION BY LIST (id);
CREATE TABLE part2_rest PARTITION OF part2 DEFAULT;
CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY);
CREATE TEMP TABLE temporary (id int PRIMARY KEY);
CREATE VIEW a_view AS SELECT 1 AS x;
CREATE MATERIALIZED VIEW a_matview AS SELECT 1 AS x;
CREATE TABLE "Odd name" (" Id" int PRIMARY KEY);

--
-- the view, before there is a group: nothing is refused yet
--
SELECT "table"::text COLLATE "C", replicated, identity, policy, note FROM replication_plugin.tables ORDER BY 1;
INSERT INTO without_key VALUES ('x');
UPDATE without_key SET v = 'y';
DELETE FROM without_key;
SELECT tgrelid::regclass FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE p.proname ~ '^capture_';
SELECT * FROM tombstones();
-- settings may be made now; they change no table
SELECT replication_plugin.exclude_table('without_key'), replication_plugin.include_table('unique_only');
SELECT "table"::text COLLATE "C", replicated FROM replication_plugin.tables WHERE "table"::text IN ('without_key', 'unique_only') ORDER BY 1;
SELECT replication_plugin.include_table('without_key');
SELECT tgrelid::regclass FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE p.proname ~ '^capture_';

--
-- preflight: what it asks for, and that all is well here
--
SELECT requirement, ok OR requirement = 'encoding' AND getdatabaseencoding() = 'SQL_ASCII' AS ok, ok = (fix IS NULL) AS fix_if_needed
FROM replication_plugin.preflight() WHERE requirement <> 'tables have keys';
SELECT ok, detail, fix FROM replication_plugin.preflight() WHERE requirement = 'tables have keys';
SELECT replication_plugin.exclude_table('without_key'), replication_plugin.exclude_table('unique_only');
SELECT ok, detail, fix FROM replication_plugin.preflight() WHERE requirement = 'tables have keys';
SELECT replication_plugin.include_table('without_key'), replication_plugin.include_table('unique_only');

--
-- in a group: all tables have the triggers that they need
--
SELECT replication_plugin.create_group('g', 'a', dsn());
SELECT replication_plugin.wait_until_ready();
-- Deletes that all members have are forgotten soon: here, in a group of one, all of them. Not while they are counted.
DELETE FROM replication_plugin.stable_point;
SELECT c.oid::regclass::text COLLATE "C" AS "table", t.trigger FROM pg_class c, triggers(c.oid) t
WHERE c.relnamespace IN ('at'::regnamespace, pg_my_temp_schema()) AND c.relkind IN ('r', 'p', 'v', 'm') ORDER BY 1, 2;
-- \d does not show them
\d with_key

--
-- no key: INSERT and TRUNCATE can be followed by others, UPDATE and DELETE cannot
--
INSERT INTO without_key VALUES ('x'), ('y');
UPDATE without_key SET v = 'z';
DELETE FROM without_key;
INSERT INTO unique_only VALUES (1, 'x');
UPDATE unique_only SET v = 'y';
MERGE INTO unique_only USING (VALUES (1)) s(id) ON s.id = unique_only.id WHEN MATCHED THEN DELETE;
-- also where other triggers rest
SET session_replication_role = replica;
DELETE FROM without_key;
RESET session_replication_role;
TRUNCATE without_key;
INSERT INTO without_key VALUES ('x'), ('y');
-- of partitions and children by inheritance also through the parent
CREATE TABLE parted_without_key (k int, v text) PARTITION BY LIST (k);
CREATE TABLE parted_without_key_1 PARTITION OF parted_without_key FOR VALUES IN (1);
INSERT INTO parted_without_key VALUES (1, 'x');
UPDATE parted_without_key SET v = 'y';
UPDATE parted_without_key_1 SET v = 'y';
DELETE FROM parted_without_key;
CREATE TABLE child_without_key (more int) INHERITS (with_key);
INSERT INTO child_without_key VALUES (1, 'x', 1);
UPDATE with_key SET v = 'y';
DELETE FROM with_key;
UPDATE ONLY with_key SET v = 'y';
DROP TABLE parted_without_key, child_without_key;
-- a deferrable key is none
CREATE TABLE deferrable_key (id int PRIMARY KEY DEFERRABLE, v text);
SELECT triggers('deferrable_key'::regclass);
SELECT identity FROM replication_plugin.tables WHERE "table" = 'deferrable_key'::regclass;
INSERT INTO deferrable_key VALUES (1, 'x');
DELETE FROM deferrable_key;
DROP TABLE deferrable_key;
-- a primary key makes it work
ALTER TABLE without_key ADD COLUMN id serial PRIMARY KEY;
SELECT triggers('without_key'::regclass);
UPDATE without_key SET v = 'z' WHERE v = 'y';
DELETE FROM without_key WHERE v = 'z';
SELECT * FROM tombstones();
-- so does an index that is the replica identity
ALTER TABLE unique_only REPLICA IDENTITY USING INDEX unique_only_id_key;
SELECT triggers('unique_only'::regclass);
UPDATE unique_only SET v = 'y';
ALTER TABLE unique_only REPLICA IDENTITY DEFAULT;
UPDATE unique_only SET v = 'z';
-- and REPLICA IDENTITY FULL
ALTER TABLE unique_only REPLICA IDENTITY FULL;
SELECT triggers('unique_only'::regclass);
UPDATE unique_only SET v = 'z';
ALTER TABLE unique_only REPLICA IDENTITY DEFAULT;
-- and leaving it out
SELECT replication_plugin.exclude_table('unique_only');
SELECT triggers('unique_only'::regclass);
UPDATE unique_only SET v = 'not replicated';
SELECT replication_plugin.include_table('unique_only');
UPDATE unique_only SET v = 'replicated';
-- a key that goes
ALTER TABLE without_key DROP CONSTRAINT without_key_pkey;
SELECT triggers('without_key'::regclass);
DELETE FROM without_key;
ALTER TABLE without_key ADD PRIMARY KEY (id);
CREATE TABLE index_goes (id int NOT NULL, v text);
CREATE UNIQUE INDEX index_goes_id ON index_goes (id);
ALTER TABLE index_goes REPLICA IDENTITY USING INDEX index_goes_id;
INSERT INTO index_goes VALUES (1, 'x');
DROP INDEX index_goes_id;
SELECT triggers('index_goes'::regclass);
DELETE FROM index_goes;
ALTER TABLE index_goes ADD PRIMARY KEY (id);
CREATE UNIQUE INDEX index_goes_v ON index_goes (v, id);
ALTER TABLE index_goes ALTER v SET NOT NULL;
ALTER TABLE index_goes REPLICA IDENTITY USING INDEX index_goes_v;
SELECT triggers('index_goes'::regclass);
DROP INDEX index_goes_v;
SELECT triggers('index_goes'::regclass);
DROP TABLE index_goes;
SELECT "table"::text, identity, note FROM replication_plugin.tables WHERE "table"::text IN ('without_key', 'unique_only') ORDER BY 1;

--
-- new tables
--
CREATE TABLE new_with_key (id int PRIMARY KEY, v text);
CREATE TABLE new_without_key (v text);
CREATE TABLE new_as AS SELECT 1 AS id;
SELECT 1 AS id INTO new_into;
CREATE TABLE new_like (LIKE with_key INCLUDING ALL);
CREATE TABLE new_child (more int) INHERITS (with_key);
CREATE UNLOGGED TABLE new_unlogged (id int PRIMARY KEY);
CREATE TEMP TABLE new_temporary (id int PRIMARY KEY);
CREATE TABLE part3 PARTITION OF parted FOR VALUES IN (3);
CREATE TABLE part4 (k int NOT NULL, v text, id int NOT NULL);
SELECT triggers('part4'::regclass);
ALTER TABLE parted ATTACH PARTITION part4 FOR VALUES IN (4);
CREATE SCHEMA at_more CREATE TABLE in_schema (id int PRIMARY KEY);
SELECT c.oid::regclass::text COLLATE "C" AS "table", t.trigger FROM pg_class c, triggers(c.oid) t
WHERE (c.relname ~ '^new_' OR c.relname IN ('part3', 'part4', 'in_schema')) AND c.relkind IN ('r', 'p') ORDER BY 1, 2;
DELETE FROM new_as;
ALTER TABLE new_as ADD PRIMARY KEY (id);
DELETE FROM new_as;
CREATE UNIQUE INDEX new_into_key ON new_into (id);
ALTER TABLE new_into ALTER id SET NOT NULL, REPLICA IDENTITY USING INDEX new_into_key;
DELETE FROM new_into;
-- detached, a partition is a table of its own
ALTER TABLE parted DETACH PARTITION part4;
SELECT triggers('part4'::regclass);
-- logged and unlogged
ALTER TABLE new_unlogged SET LOGGED;
SELECT triggers('new_unlogged'::regclass);
DROP TABLE new_as, new_into, new_like, new_child, new_unlogged, new_temporary, part4, new_without_key;
DROP SCHEMA at_more CASCADE;

--
-- which updates are looked at: of key columns, or all where a trigger may change the key
--
CREATE FUNCTION change_key() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.id := NEW.id + 1000; RETURN NEW; END $$;
CREATE TRIGGER change_key BEFORE UPDATE ON new_with_key FOR EACH ROW EXECUTE FUNCTION change_key();
SELECT triggers('new_with_key'::regclass);
INSERT INTO new_with_key VALUES (1, 'x');
TRUNCATE replication_plugin.tombstone;
UPDATE new_with_key SET v = 'y';
SELECT * FROM new_with_key; -- not 1
SELECT * FROM tombstones();
-- another key, another name of a key column
ALTER TABLE new_with_key DROP CONSTRAINT new_with_key_pkey, ADD PRIMARY KEY (v);
DROP TRIGGER change_key ON new_with_key;
ALTER TABLE new_with_key RENAME v TO w;
SELECT triggers('new_with_key'::regclass);
TRUNCATE replication_plugin.tombstone;
UPDATE new_with_key SET id = 5;
SELECT * FROM tombstones();
UPDATE new_with_key SET w = 'z';
SELECT * FROM tombstones();

--
-- tombstones: one for each key that a statement takes away
--
TRUNCATE replication_plugin.tombstone;
INSERT INTO with_key SELECT i, 'x' FROM generate_series(1, 10) i;
INSERT INTO two_columns VALUES ('a', 1, 1), ('b', 1, 1), ('a', 1, 2);
SELECT * FROM tombstones();
-- DELETE
DELETE FROM with_key WHERE id <= 2;
SELECT * FROM tombstones();
-- an update that keeps the key
UPDATE with_key SET v = 'y';
UPDATE with_key SET id = id;
SELECT * FROM tombstones();
-- an update of the key
UPDATE with_key SET id = 100 WHERE id = 3;
SELECT * FROM tombstones();
-- keys that move over one another in a statement: those that are still in use have none
INSERT INTO with_key VALUES (503, 'x'), (502, 'x'), (501, 'x');
UPDATE with_key SET id = id + 1 WHERE id > 500;
SELECT * FROM tombstones();
DELETE FROM with_key WHERE id > 500;
SELECT * FROM tombstones();
UPDATE two_columns SET b = 3 WHERE a = 'b';
DELETE FROM two_columns WHERE a = 'a' AND b = 2;
SELECT * FROM tombstones();
-- what is rolled back leaves none
BEGIN;
DELETE FROM with_key;
SELECT keys > 1 AS more FROM tombstones() WHERE "table" = 'with_key';
ROLLBACK;
BEGIN;
SAVEPOINT a;
TRUNCATE with_key;
ROLLBACK TO a;
COMMIT;
SELECT * FROM tombstones();
-- a row that comes and goes in one transaction, and a key that is put again
TRUNCATE replication_plugin.tombstone;
BEGIN;
INSERT INTO with_key VALUES (200, 'x');
DELETE FROM with_key WHERE id = 200;
INSERT INTO with_key VALUES (200, 'y');
COMMIT;
SELECT * FROM tombstones();
-- TRUNCATE: for each row that is there
TRUNCATE replication_plugin.tombstone;
SELECT count(*) FROM with_key;
TRUNCATE with_key, two_columns;
SELECT * FROM tombstones();
TRUNCATE with_key;
SELECT * FROM tombstones();
-- foreign keys that cascade
CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES with_key ON DELETE CASCADE ON UPDATE CASCADE);
INSERT INTO with_key VALUES (1, 'x'), (2, 'y');
INSERT INTO child VALUES (1, 1), (2, 1), (3, 2);
TRUNCATE replication_plugin.tombstone;
DELETE FROM with_key WHERE id = 1;
UPDATE with_key SET id = 22 WHERE id = 2;
SELECT * FROM tombstones();
TRUNCATE with_key CASCADE;
SELECT * FROM tombstones();
-- replica identities: of REPLICA IDENTITY FULL without a key there is nothing to remember
TRUNCATE replication_plugin.tombstone;
INSERT INTO full_no_key VALUES ('x'), ('y'), ('z');
UPDATE full_no_key SET v = 'zz' WHERE v = 'z';
DELETE FROM full_no_key WHERE v = 'x';
TRUNCATE full_no_key;
SELECT * FROM tombstones();
INSERT INTO full_with_key VALUES (1, 'x'), (2, 'y');
UPDATE full_with_key SET id = 3 WHERE id = 1;
DELETE FROM full_with_key WHERE id = 2;
INSERT INTO nothing_with_key VALUES (1, 'x'), (2, 'y');
UPDATE nothing_with_key SET id = 3 WHERE id = 1;
DELETE FROM nothing_with_key WHERE id = 2;
INSERT INTO by_index VALUES (1, 1, 1), (2, 2, 2), (3, 3, 3);
UPDATE by_index SET id = 4 WHERE id = 3;
UPDATE by_index SET c = 4 WHERE id = 4;
UPDATE by_index SET a = 4 WHERE id = 1;
DELETE FROM by_index WHERE id = 2;
SELECT * FROM tombstones();
-- partitions: the tombstones are the partitioned table's; a row that moves gets another key
TRUNCATE replication_plugin.tombstone;
INSERT INTO parted VALUES (1, 'x', 1), (2, 'x', 1), (3, 'x', 2), (4, 'x', 3), (5, 'x', 3);
UPDATE parted SET v = 'y';
SELECT * FROM tombstones();
UPDATE parted SET k = 3 WHERE id = 1;
SELECT * FROM tombstones();
DELETE FROM parted WHERE id = 2;
DELETE FROM part2_rest;
SELECT * FROM tombstones();
TRUNCATE parted;
SELECT * FROM tombstones();
-- tables without replication have none
TRUNCATE replication_plugin.tombstone;
INSERT INTO unlogged VALUES (1);
INSERT INTO temporary VALUES (1);
DELETE FROM unlogged;
DELETE FROM temporary;
SELECT * FROM tombstones();

--
-- taking tables out
--
SELECT replication_plugin.exclude_table('with_key'), replication_plugin.exclude_table('parted'),
	replication_plugin.exclude_table('"Odd name"');
SELECT "table"::text COLLATE "C", replicated, identity, note FROM replication_plugin.tables WHERE NOT replicated ORDER BY 1;
SELECT triggers('with_key'::regclass);
SELECT triggers('part1'::regclass);
SELECT triggers('part2_rest'::regclass);
SELECT triggers('"Odd name"'::regclass);
INSERT INTO with_key VALUES (1, 'x');
INSERT INTO parted VALUES (1, 'x', 1);
DELETE FROM with_key;
DELETE FROM parted;
SELECT * FROM tombstones();
-- a partition that comes later follows
CREATE TABLE part5 PARTITION OF parted FOR VALUES IN (5);
SELECT triggers('part5'::regclass);
-- detached, it stands for itself
ALTER TABLE parted DETACH PARTITION part5;
SELECT triggers('part5'::regclass);
ALTER TABLE parted ATTACH PARTITION part5 FOR VALUES IN (5);
SELECT triggers('part5'::regclass);
-- twice is as good as once
SELECT replication_plugin.exclude_table('with_key');
SELECT * FROM replication_plugin.table_setting ORDER BY schema_name COLLATE "C", table_name COLLATE "C";
-- and in again
SELECT replication_plugin.include_table('with_key'), replication_plugin.include_table('parted'),
	replication_plugin.include_table('"Odd name"');
SELECT count(*) AS excluded FROM replication_plugin.tables WHERE NOT replicated;
SELECT triggers('with_key'::regclass);
SELECT triggers('part1'::regclass);
SELECT triggers('part5'::regclass);
BEGIN;
SELECT replication_plugin.exclude_table('with_key');
SELECT triggers('with_key'::regclass);
ROLLBACK;
SELECT count(*) FROM triggers('with_key'::regclass);

--
-- after leaving nothing is refused, and nothing is remembered
--
SELECT replication_plugin.leave_group();
SELECT c.oid::regclass AS "table" FROM pg_class c, triggers(c.oid) t;
SELECT count(*) FROM replication_plugin.tombstone;
DELETE FROM unique_only;
INSERT INTO with_key VALUES (1, 'x');
DELETE FROM with_key;
SELECT count(*) FROM replication_plugin.tombstone;
CREATE TABLE later (v text);
SELECT triggers('later'::regclass);

RESET search_path;
DROP SCHEMA at CASCADE;
DROP TABLE temporary;
DROP EXTENSION replication_plugin;
DROP SCHEMA replication_plugin;
\c :home
DO $$
BEGIN
	FOR i IN 1..1800 LOOP
		PERFORM pg_stat_clear_snapshot();
		EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname ~ '^regression_tables$');
		PERFORM pg_sleep(0.1);
	END LOOP;
END
$$;
DROP DATABASE regression_tables;
