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

-- rows that came from elsewhere are shown as well, also of unknown origins
SELECT pg_replication_origin_create('json_elsewhere') > 0;
SELECT pg_replication_origin_session_setup('json_elsewhere');
BEGIN;
SELECT pg_replication_origin_xact_setup('0/ABCD', '2024-01-01 00:00:00+00');
INSERT INTO log_a VALUES (99);
COMMIT;
SELECT pg_replication_origin_session_reset();
SELECT changes('include-timestamp', 'true') OFFSET 7;
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
SELECT changes('protocol', '4');

-- the format for nodes of a group wants its own options
SELECT * FROM pg_logical_slot_peek_changes('json_options', NULL, NULL);
SELECT * FROM pg_logical_slot_peek_binary_changes('json_options', NULL, NULL, 'format', 'native', 'include-xids', '1');
SELECT * FROM pg_logical_slot_peek_binary_changes('json_options', NULL, NULL, 'protocol', '0');
SELECT * FROM pg_logical_slot_peek_binary_changes('json_options', NULL, NULL, 'protocol', '99');
SELECT * FROM pg_logical_slot_peek_binary_changes('json_options', NULL, NULL, 'protocol', '4');
SELECT * FROM pg_logical_slot_peek_binary_changes('json_options', NULL, NULL, 'protocol', '4', 'node_id', 'x');
SELECT * FROM pg_logical_slot_peek_binary_changes('json_options', NULL, NULL, 'protocol', '4', 'node_id', '2');
SELECT * FROM pg_logical_slot_peek_binary_changes('json_options', NULL, NULL, 'protocol', '4', 'node_id', '2', 'group_id', 'x');
SELECT * FROM pg_logical_slot_peek_binary_changes('json_options', NULL, NULL, 'protocol', '4', 'node_id', '2', 'group_id', 'x', 'encoding', 'LATIN1');
SELECT * FROM pg_logical_slot_peek_binary_changes('json_options', NULL, NULL, 'protocol', '4', 'node_id', '2', 'group_id', 'x', 'encoding', 'UTF8', 'full_origins', '1,x');
SELECT * FROM pg_logical_slot_peek_binary_changes('json_options', NULL, NULL, 'protocol', '4', 'node_id', '2', 'group_id', 'x', 'encoding', 'UTF8', 'full_origins', '1,3');

SELECT pg_drop_replication_slot('json_options');
DROP SCHEMA json_options, "odd.schema" CASCADE;
