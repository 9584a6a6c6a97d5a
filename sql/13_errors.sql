--
-- What the commands refuse in a group of three, and what they say then. (Lesson 4 has those of topologies, 7 and 8 those of handlers and
-- columns, 20 what a node alone refuses.)
--
\set SHOW_CONTEXT never
\c regression_tokyo
SELECT dsn_of('regression_tokyo') AS tokyo, dsn_of('regression_paris') AS paris, dsn_of('regression_other') AS other \gset

-- once is enough
SELECT replication_plugin.create_group('shop', 'tokyo', :'tokyo');
SELECT replication_plugin.join_group('tokyo', :'tokyo', :'paris');
SELECT replication_plugin.rejoin();

-- names: of one who joins they must be new, of all others known
CREATE DATABASE regression_other TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C';
ALTER DATABASE regression_other SET lc_messages = 'C';
\c regression_other
CREATE EXTENSION replication_plugin;
SELECT replication_plugin.join_group('paris', :'other', :'tokyo');
SELECT replication_plugin.join_group(E'two\nlines', :'other', :'tokyo');
SELECT replication_plugin.join_group('quito', :'other', :'other');
SELECT replication_plugin.join_group('quito', 'no dsn', :'tokyo');
SELECT count(*) FROM replication_plugin.nodes;
\c regression_tokyo
DROP DATABASE regression_other;
SELECT replication_plugin.remove_node('quito');
SELECT replication_plugin.remove_node('tokyo');
SELECT replication_plugin.pause_link('quito');
SELECT replication_plugin.pause_link('tokyo');
SELECT replication_plugin.resume_link('quito');
SELECT replication_plugin.skip_transaction('quito', '0/1');
SELECT replication_plugin.prepare_base_backup('paris', 'dbname=paris');
SELECT replication_plugin.cancel_base_backup('quito');

-- not inside a transaction: it would hold up all links
BEGIN;
SELECT replication_plugin.remove_node('paris');
ROLLBACK;
BEGIN;
SELECT replication_plugin.leave_group();
ROLLBACK;
BEGIN;
SELECT replication_plugin.rejoin();
ROLLBACK;
BEGIN;
SELECT replication_plugin.forget_group();
ROLLBACK;

-- null is no argument
SELECT replication_plugin.set_topology(NULL);
SELECT replication_plugin.add_link('tokyo', NULL);
SELECT replication_plugin.set_conflict_policy('city', NULL);
SELECT replication_plugin.set_column_merge('city', NULL, 'counter');
SELECT replication_plugin.set_node_priority(NULL);
SELECT replication_plugin.exclude_table(NULL);
SELECT replication_plugin.siblings('city', NULL);
SELECT replication_plugin.resolve('city', NULL, NULL);

-- tables that cannot have a policy, or be taken out
CREATE TABLE keyless (v text);
CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE part PARTITION OF parted DEFAULT;
CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY);
CREATE TEMP TABLE temporary (id int PRIMARY KEY);
CREATE VIEW a_view AS SELECT 1 AS id;
SELECT replication_plugin.set_conflict_policy('keyless', 'siblings');
SELECT replication_plugin.set_conflict_policy('parted', 'siblings');
SELECT replication_plugin.set_conflict_policy('part', 'siblings');
SELECT replication_plugin.set_conflict_policy('unlogged', 'siblings');
SELECT replication_plugin.set_conflict_policy('temporary', 'siblings');
SELECT replication_plugin.set_conflict_policy('a_view', 'siblings');
SELECT replication_plugin.set_conflict_policy('pg_class', 'siblings');
SELECT replication_plugin.set_conflict_policy('replication_plugin.link', 'siblings');
SELECT replication_plugin.set_column_merge('keyless', 'v', 'last_write_wins');
SELECT replication_plugin.exclude_table('part');
SELECT replication_plugin.exclude_table('a_view');
SELECT replication_plugin.exclude_table('pg_class');
SELECT replication_plugin.exclude_table('keyless');
SELECT replication_plugin.set_conflict_policy('keyless', 'siblings');
SELECT replication_plugin.include_table('keyless');
DROP VIEW a_view;
DROP TABLE keyless, parted, unlogged, temporary;

-- rows: their key, whole; and of a table that keeps siblings
SELECT replication_plugin.siblings('city', '{"name": "lima"}');
SELECT replication_plugin.siblings('city', '{"nam": "lima"}');
SELECT replication_plugin.siblings('city', '"lima"');
SELECT replication_plugin.causal_context('city', '{"name": "lima"}');
SELECT replication_plugin.wait_for_context('city', '{"name": "lima"}', 'x');
SELECT replication_plugin.resolve('city', '{}', '{"mayor": "x"}');
SELECT replication_plugin.resolve('city', '{"name": "quito"}', NULL); -- there is none
SET replication_plugin.causal_context = 'x';
SELECT replication_plugin.topology_graph('svg');

-- what belongs to the group is not dropped
DROP EXTENSION replication_plugin;
DROP EXTENSION replication_plugin CASCADE;
DROP SCHEMA replication_plugin CASCADE;
\c regression_paris
DROP DATABASE regression_tokyo WITH (FORCE);
\c regression_tokyo
SELECT * FROM everywhere('SELECT node_name, state FROM replication_plugin.nodes WHERE state = ''ready'' ORDER BY node_id');
