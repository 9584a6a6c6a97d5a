-- JSON output: options, and what is refused.
\pset format unaligned
\pset tuples_only on
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET intervalstyle = 'postgres';

CREATE SCHEMA json_options;
CREATE SCHEMA "odd.schema";
SET search_path = json_options;
CREATE FUNCTION changes(VARIADIC options text[] DEFAULT '{}') RETURNS SETOF json LANGUAGE sql AS $$
	SELECT data::json FROM pg_logical_slot_peek_changes('json_options', NULL, NULL, VARIADIC ARRAY['format', 'json'] || options)
$$;
-- only the tables' names
CREATE FUNCTION tables(VARIADIC options text[]) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(c->>'table', ' ') FROM changes(VARIADIC options) c WHERE c->>'action' = 'I'
$$;
SELECT slot_name FROM pg_create_logical_replication_slot('json_options', 'replication_plugin');
CREATE TYPE color AS ENUM ('red');
CREATE TABLE users (id int, name varchar(20), c color, PRIMARY KEY (id));
CREATE TABLE log_a (a int);
CREATE TABLE log_b (a int);
CREATE TABLE "a,b c" (a int);
CREATE TABLE "odd.schema".users (a int);
BEGIN;
INSERT INTO users VALUES (1, 'x', 'red');
INSERT INTO log_a VALUES (1);
INSERT INTO log_b VALUES (2);
INSERT INTO "a,b c" VALUES (3);
INSERT INTO "odd.schema".users VALUES (4);
COMMIT;

-- which tables
SELECT tables('include-tables', 'json_options.users');
SELECT tables('include-tables', '*.users');
SELECT tables('include-tables', 'json_options.*');
SELECT tables('include-tables', 'json_options.log_*, *.users');
SELECT tables('include-tables', 'json_options.*_b');
SELECT tables('include-tables', 'json_options.l*_*b');
SELECT tables('include-tables', 'json_options.*', 'exclude-tables', 'json_options.log_*');
SELECT tables('exclude-tables', 'json_options.log_a,odd\.schema.*');
SELECT tables('add-tables', '*.*', 'filter-tables', '*.users');
SELECT tables('include-tables', 'json_options.users', 'include-tables', 'json_options.log_a');
SELECT tables('include-tables', 'json_options.a\,b\ c');
SELECT tables('include-tables', 'json_options.USERS');
SELECT changes('exclude-tables', '*.*');
SELECT c->>'action' AS action, count(*) > 5 AS several FROM changes('exclude-tables', '*.*', 'skip-empty-xacts', 'false') c GROUP BY 1 ORDER BY 1;

-- what is in an object
SELECT changes('include-tables', 'json_options.users', 'include-types', 'false');
SELECT changes('include-tables', 'json_options.users', 'include-typmod', 'off');
SELECT changes('include-tables', 'json_options.users', 'include-schemas', '0');
SELECT changes('include-tables', 'json_options.users', 'include-pk', 'on');
SELECT changes('include-tables', 'json_options.users', 'include-pk', 'on', 'include-types', 'off', 'include-column-positions', '1', 'include-transaction', 'f');
SELECT regexp_replace(c::text, '"typeoid":[0-9]{5,}', '"typeoid":N') FROM changes('include-tables', 'json_options.users', 'include-type-oids', 'true') c;
SELECT regexp_replace(c::text, '[0-9]+/[0-9A-F]+|[0-9]{3,}|[-0-9: .]+[+]00', '#', 'g')
	FROM changes('include-tables', 'json_options.users', 'include-xids', 'true', 'include-lsn', 'true', 'include-timestamp', 'true') c;
SELECT count(DISTINCT c->>'xid') = 1 AS one_xid, count(DISTINCT (c->>'timestamp')::timestamptz) = 1 AS one_timestamp,
	bool_and((c->>'lsn')::pg_lsn < pg_current_wal_insert_lsn()) AS lsn
	FROM changes('include-xids', 'true', 'include-lsn', 'true', 'include-timestamp', 'true') c;
SELECT count(*) > 0 FROM changes('format-version', '2', 'format', 'json', 'include-origin', 'false');

-- what readers of wal2json ask for: which actions, and what is told of columns
CREATE DOMAIN amount AS numeric(10,2);
CREATE TYPE "Odd ""type" AS ENUM ('x');
CREATE TABLE told (b int DEFAULT 7 CHECK (b > 0), a amount NOT NULL DEFAULT 1.5, o "Odd ""type", t text DEFAULT 'it''s "x"',
	g numeric GENERATED ALWAYS AS (a * 2) STORED, f float8, PRIMARY KEY (a, b));
INSERT INTO told (o, f) VALUES ('x', 'NaN');
UPDATE told SET f = 2.5;
TRUNCATE told;
INSERT INTO told (f) VALUES (-1e20);
DELETE FROM told;
SELECT c->>'action' FROM changes('include-tables', '*.told', 'include-transaction', 'f', 'actions', 'insert, delete') c;
SELECT c->>'action' FROM changes('include-tables', '*.told', 'include-transaction', 'f', 'actions', 'update,truncate') c;
SELECT count(*) FROM changes('include-tables', '*.told', 'include-transaction', 'f', 'actions', '') c;
SELECT count(*) FROM changes('include-tables', '*.told', 'include-transaction', 'f', 'actions', 'insert', 'pretty-print', '1', 'write-in-chunks', '1') c;
SELECT changes('include-tables', '*.told', 'include-transaction', 'f', 'actions', 'insert,update', 'include-not-null', '1', 'include-column-positions', '1',
	'include-default', '1', 'include-pk', '1', 'include-domain-data-type', '1');
SELECT changes('include-tables', '*.told', 'include-transaction', 'f', 'actions', 'insert', 'numeric-data-types-as-string', '1', 'include-domain-data-type', '1', 'include-typmod', '0');
SELECT changes('include-tables', '*.log_a', 'include-transaction', 'f', 'include-pk', '1');

-- messages, by prefix (what is written last has it flushed)
SELECT 'x' FROM pg_logical_emit_message(false, 'one', 'by itself');
SELECT 'x' FROM pg_logical_emit_message(true, 'one', 'of one') UNION ALL SELECT 'x' FROM pg_logical_emit_message(true, 'two, three', 'of the other');
SELECT c->>'content' FROM changes('include-transaction', 'f', 'exclude-tables', '*.*', 'add-msg-prefixes', 'zero,one') c;
SELECT c->>'content' FROM changes('include-transaction', 'f', 'exclude-tables', '*.*', 'filter-msg-prefixes', 'one') c;
SELECT c->>'content' FROM changes('include-transaction', 'f', 'exclude-tables', '*.*', 'add-msg-prefixes', 'two\, three , one', 'filter-msg-prefixes', 'one') c;
SELECT regexp_replace(c::text, '[0-9]{3,}|[-0-9: .]+[+]00', '#', 'g')
	FROM changes('exclude-tables', '*.*', 'include-xids', 'true', 'include-timestamp', 'true', 'include-origin', 'true', 'add-msg-prefixes', 'one') c;

-- a reader of wal2json says nothing of the format's name
SELECT count(*) > 0 FROM pg_logical_slot_peek_changes('json_options', NULL, NULL, 'format-version', '2', 'include-xids', '1');

-- a pattern with many stars takes no longer than others
SELECT tables('include-tables', '*.' || repeat('*a', 40) || 'b,' || repeat('*e*s', 30) || '.*x,*.*l*o*g*_*b*');

-- rows that came from elsewhere are shown as well, also of unknown origins
SELECT pg_replication_origin_create('json_elsewhere') > 0;
SELECT pg_replication_origin_session_setup('json_elsewhere');
BEGIN;
SELECT pg_replication_origin_xact_setup('0/ABCD', '2024-01-01 00:00:00+00');
INSERT INTO log_a VALUES (99);
COMMIT;
SELECT pg_replication_origin_session_reset();
SELECT changes('include-timestamp', 'true', 'include-tables', '*.log_a', 'add-msg-prefixes', 'none') OFFSET 3;
-- ... but for those that are not wanted; the number is that of the replication origin
SELECT regexp_replace(c::text, '"origin":[1-9][0-9]*', '"origin":N') FROM changes('include-origin', 'true', 'include-tables', '*.log_a', 'add-msg-prefixes', 'none') c;
SELECT changes('include-tables', '*.log_a', 'add-msg-prefixes', 'none', 'filter-origins', (SELECT '65534, ' || roident FROM pg_replication_origin WHERE roname = 'json_elsewhere'));
SELECT pg_replication_origin_drop('json_elsewhere');

-- errors
SELECT changes('include-nothing', 'true');
SELECT changes('include-xids', 'maybe');
SELECT changes('format', 'xml');
SELECT changes('format-version', '1');
SELECT changes('include-tables', 'users');
SELECT changes('include-tables', 'json_options.users,');
SELECT changes('include-tables', '');
SELECT changes('exclude-tables', 'a.b.c');
SELECT changes('protocol', '5');
SELECT changes('actions', 'insert,upsert');
SELECT changes('filter-origins', 'json_elsewhere');
SELECT changes('include-unchanged-toast', '1');
SELECT changes('pretty-print', 'nicely');
SELECT changes('include-tables', repeat('a.b,', 10000) || 'a.b');
SELECT changes('add-msg-prefixes', repeat('a,', 10000));

-- the format for nodes of a group wants its own options
SELECT * FROM pg_logical_slot_peek_changes('json_options', NULL, NULL);
SELECT * FROM pg_logical_slot_peek_binary_changes('json_options', NULL, NULL, 'format', 'native', 'include-xids', '1');
SELECT * FROM pg_logical_slot_peek_binary_changes('json_options', NULL, NULL, 'protocol', '0');
SELECT * FROM pg_logical_slot_peek_binary_changes('json_options', NULL, NULL, 'protocol', '99');
SELECT * FROM pg_logical_slot_peek_binary_changes('json_options', NULL, NULL, 'protocol', '5');
SELECT * FROM pg_logical_slot_peek_binary_changes('json_options', NULL, NULL, 'protocol', '5', 'node_id', 'x');
SELECT * FROM pg_logical_slot_peek_binary_changes('json_options', NULL, NULL, 'protocol', '5', 'node_id', '2');
SELECT * FROM pg_logical_slot_peek_binary_changes('json_options', NULL, NULL, 'protocol', '5', 'node_id', '2', 'group_id', 'x');
SELECT * FROM pg_logical_slot_peek_binary_changes('json_options', NULL, NULL, 'protocol', '5', 'node_id', '2', 'group_id', 'x', 'encoding', 'LATIN1');
SELECT * FROM pg_logical_slot_peek_binary_changes('json_options', NULL, NULL, 'protocol', '5', 'node_id', '2', 'group_id', 'x', 'encoding', 'UTF8', 'full_origins', '1,x');
SELECT * FROM pg_logical_slot_peek_binary_changes('json_options', NULL, NULL, 'protocol', '5', 'node_id', '2', 'group_id', 'x', 'encoding', 'UTF8', 'full_origins', '1,3');

-- a pattern with many stars takes no longer than others, also where each of them could stand for a long part of the name
DO $$ BEGIN EXECUTE format('CREATE TABLE %I (a int)', repeat('a', 60)); EXECUTE format('INSERT INTO %I VALUES (1)', repeat('a', 60)); END $$;
SET statement_timeout = '20s';
SELECT tables('include-tables', '*.' || repeat('*a', 25) || 'b');
SELECT length(tables('include-tables', '*.' || repeat('*a', 25)));
RESET statement_timeout;
SELECT pg_drop_replication_slot('json_options');
DROP SCHEMA json_options, "odd.schema" CASCADE;
