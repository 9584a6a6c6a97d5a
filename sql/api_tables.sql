-- Which tables are replicated: the view tables, exclude_table() and include_table().
\set SHOW_CONTEXT never
CREATE DATABASE api_tables;
\c api_tables
CREATE EXTENSION replication_plugin;
SELECT format('host=%s port=%s dbname=api_tables', split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port')) AS own \gset

CREATE TABLE keyed (id int PRIMARY KEY, v text);
CREATE TABLE two_columns (b int, a int, v text, PRIMARY KEY (a, b) INCLUDE (v));
CREATE TABLE by_index (x int NOT NULL UNIQUE, y int PRIMARY KEY);
ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_x_key;
CREATE TABLE full_row (id int, v text);
ALTER TABLE full_row REPLICA IDENTITY FULL;
CREATE TABLE full_keyed (id int PRIMARY KEY, v text);
ALTER TABLE full_keyed REPLICA IDENTITY FULL;
CREATE TABLE nothing_keyed (id int PRIMARY KEY, v text);
ALTER TABLE nothing_keyed REPLICA IDENTITY NOTHING;
CREATE TABLE no_key (id int, v text);
CREATE TABLE parted (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);
CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY);
CREATE TEMP TABLE temporary (id int PRIMARY KEY);
CREATE VIEW a_view AS SELECT 1 AS x;
CREATE SCHEMA "Other";
CREATE TABLE "Other"."A Table" (id int PRIMARY KEY);

SELECT * FROM replication_plugin.tables ORDER BY "table"::text COLLATE "C";

-- what cannot be replicated
SELECT replication_plugin.exclude_table(NULL);
SELECT replication_plugin.include_table(NULL);
SELECT replication_plugin.exclude_table('missing');
SELECT replication_plugin.exclude_table(999999::oid);
SELECT replication_plugin.exclude_table('a_view');
SELECT replication_plugin.exclude_table('keyed_pkey');
SELECT replication_plugin.exclude_table('unlogged');
SELECT replication_plugin.exclude_table('temporary');
SELECT replication_plugin.exclude_table('parted_1');
SELECT replication_plugin.exclude_table('pg_class');
SELECT replication_plugin.exclude_table('replication_plugin.node');

-- before there is a group, and in one
SELECT replication_plugin.exclude_table('no_key');
SELECT replication_plugin.create_group('g', 'a', :'own');
SELECT "table", replicated, note FROM replication_plugin.tables WHERE "table" = 'no_key'::regclass;

-- rows without a key are not updated or deleted, while the table is replicated
UPDATE no_key SET v = 'x';
SELECT replication_plugin.include_table('no_key');
INSERT INTO no_key VALUES (1, 'x');
UPDATE no_key SET v = 'y';
DELETE FROM no_key;
TRUNCATE no_key;
SELECT replication_plugin.exclude_table('no_key');
UPDATE no_key SET v = 'y';
DELETE FROM no_key;
SELECT replication_plugin.include_table('no_key');
ALTER TABLE no_key ADD PRIMARY KEY (id);
INSERT INTO no_key VALUES (1, 'x');
UPDATE no_key SET v = 'y';
DELETE FROM no_key;
SELECT "table", replicated, identity, note FROM replication_plugin.tables WHERE "table" = 'no_key'::regclass;

-- our triggers, out of sight of \d
\d keyed
CREATE FUNCTION our_triggers() RETURNS TABLE (rel regclass, functions text) LANGUAGE sql AS $$
	SELECT tgrelid::regclass, string_agg(replace(tgfoid::regproc::text, 'replication_plugin.', ''), ', ' ORDER BY tgfoid::regproc::text)
	FROM pg_trigger WHERE tgisinternal AND tgfoid::regproc::text LIKE 'replication_plugin.%' GROUP BY tgrelid ORDER BY tgrelid::regclass::text COLLATE "C"
$$;
SELECT * FROM our_triggers();
-- a partitioned table with its partitions
SELECT replication_plugin.exclude_table('parted');
SELECT replication_plugin.exclude_table('"Other"."A Table"');
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (100) TO (200);
SELECT * FROM our_triggers();
SELECT "table", replicated FROM replication_plugin.tables WHERE NOT replicated ORDER BY "table"::text COLLATE "C";
SELECT replication_plugin.include_table('parted');
CREATE TABLE parted_3 PARTITION OF parted FOR VALUES FROM (200) TO (300);
CREATE TABLE new_table (id int PRIMARY KEY);
SELECT * FROM our_triggers();
-- a key that goes, and one that comes; the triggers follow
ALTER TABLE new_table DROP CONSTRAINT new_table_pkey;
SELECT * FROM our_triggers() WHERE rel = 'new_table'::regclass;
ALTER TABLE new_table REPLICA IDENTITY FULL;
SELECT * FROM our_triggers() WHERE rel = 'new_table'::regclass;
SELECT "table", replicated, identity, note FROM replication_plugin.tables WHERE "table" = 'new_table'::regclass;
ALTER TABLE new_table ADD PRIMARY KEY (id);
SELECT * FROM our_triggers() WHERE rel = 'new_table'::regclass;
-- twice is once; a rollback takes it back
SELECT replication_plugin.exclude_table('keyed');
SELECT replication_plugin.exclude_table('keyed');
BEGIN;
SELECT replication_plugin.include_table('keyed');
ROLLBACK;
SELECT "table", replicated, note FROM replication_plugin.tables WHERE "table" = 'keyed'::regclass;
SELECT replication_plugin.include_table('keyed');
SELECT "table", replicated, note FROM replication_plugin.tables WHERE "table" = 'keyed'::regclass;
SELECT schema_name, table_name, replicated FROM replication_plugin.table_setting ORDER BY schema_name COLLATE "C", table_name COLLATE "C";

-- who leaves takes nothing of it along
SELECT replication_plugin.leave_group();
SELECT * FROM our_triggers();
SELECT count(*) FROM replication_plugin.table_setting;
-- outside a group a setting is noted, no more
SELECT replication_plugin.include_table('no_key');
SELECT * FROM our_triggers();
\c regression
DROP DATABASE api_tables;
