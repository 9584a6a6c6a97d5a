--
-- Nodes go, are lost, and come back.
--
\set SHOW_CONTEXT never
\c regression_tokyo
SELECT dsn_of('regression_tokyo') AS tokyo, dsn_of('regression_paris') AS paris, dsn_of('regression_lima') AS lima \gset
SELECT on_all_nodes('CREATE TABLE guest (id int PRIMARY KEY, name text)');
INSERT INTO guest VALUES (1, 'tokyo'), (2, 'tokyo');
SELECT replication_plugin.wait_for_apply();

--
-- A node is removed, in order: when the call returns, the others have all that it had written.
--
\c regression_lima
INSERT INTO guest VALUES (3, 'lima');
\c regression_tokyo
SELECT replication_plugin.remove_node('lima');
SELECT replication_plugin.remove_node('lima');
CALL wait_until($$(SELECT count(*) = 2 FROM replication_plugin.nodes WHERE state = 'ready')$$);
SELECT * FROM everywhere('SELECT * FROM guest ORDER BY id');
SELECT node_id, node_name, state FROM replication_plugin.nodes ORDER BY 1;
-- it hears of it, and takes nothing any more
\c regression_lima
CALL wait_until($$(SELECT state = 'removed' FROM replication_plugin.nodes WHERE is_local) AND NOT EXISTS (SELECT FROM replication_plugin.links)$$);
\c regression_tokyo
DELETE FROM guest WHERE id = 2;
INSERT INTO guest VALUES (4, 'tokyo');
-- it keeps its rows, and takes no writes to replicated tables, which would reach nobody
\c regression_lima
SELECT * FROM guest ORDER BY id;
INSERT INTO guest VALUES (5, 'lima');
UPDATE guest SET name = 'lima';
TRUNCATE guest;
-- nor can it say anything to the group
SELECT replication_plugin.pause_link('tokyo');
SELECT replication_plugin.set_topology('star');
SELECT replication_plugin.exclude_table('guest');
SELECT replication_plugin.set_conflict_policy('guest', 'siblings');
SELECT replication_plugin.remove_node('paris');
SELECT replication_plugin.wait_until_ready('0');
SELECT node_name, state FROM replication_plugin.nodes WHERE is_local;

--
-- It comes back: with a new number, and the rows of the others in place of its own
--
SELECT replication_plugin.rejoin();
SET client_min_messages = warning;
SELECT replication_plugin.wait_until_ready();
RESET client_min_messages;
SELECT node_id, node_name, state FROM replication_plugin.nodes WHERE state = 'ready' ORDER BY 1;
INSERT INTO guest VALUES (5, 'lima');
SELECT replication_plugin.wait_for_apply();
SELECT * FROM everywhere('SELECT * FROM guest ORDER BY id');

--
-- A node leaves: then it is a database of its own, and the extension can go.
--
DROP EXTENSION replication_plugin;
SELECT replication_plugin.leave_group();
SELECT count(*) FROM replication_plugin.nodes;
INSERT INTO guest VALUES (6, 'lima alone');
DROP EXTENSION replication_plugin;
\c regression_tokyo
SELECT node_name, state FROM replication_plugin.nodes WHERE state = 'ready' ORDER BY 1;
SELECT * FROM everywhere('SELECT * FROM guest ORDER BY id');
-- neither slots nor origins are left there
SELECT count(*) FROM pg_replication_slots WHERE database = 'regression_lima';
SELECT count(*) FROM pg_replication_origin WHERE roname ~ (SELECT format('^replication_plugin_%s_', oid) FROM pg_database WHERE datname = 'regression_lima');

--
-- It joins again, with the tables that it has already: their rows are replaced by the group's.
--
\c regression_lima
CREATE EXTENSION replication_plugin;
SELECT replication_plugin.join_group('lima', :'lima', via => :'paris', copy_schema => false, allow_existing => true);
SET client_min_messages = warning;
SELECT replication_plugin.wait_until_ready();
RESET client_min_messages;
SELECT * FROM guest ORDER BY id;
INSERT INTO guest VALUES (7, 'lima');
SELECT replication_plugin.wait_for_apply();

--
-- A node is lost: here its database takes no connections any more.
--
\c regression_tokyo
ALTER DATABASE regression_lima ALLOW_CONNECTIONS false;
SELECT count(pg_terminate_backend(pid)) > 0 AS gone FROM pg_stat_activity WHERE datname = 'regression_lima';
\set VERBOSITY terse
SELECT replication_plugin.remove_node('lima', lost => NULL);
SELECT replication_plugin.remove_node('lima', lost => true);
\set VERBOSITY default
CALL wait_until($$(SELECT count(*) = 2 FROM replication_plugin.nodes WHERE state = 'ready')$$);
UPDATE guest SET name = 'tokyo, without lima' WHERE id = 4;
SELECT replication_plugin.wait_for_apply();
SELECT * FROM everywhere('SELECT * FROM guest ORDER BY id');
ALTER DATABASE regression_lima ALLOW_CONNECTIONS true;
-- when it is back it is told
\c regression_lima
CALL wait_until($$(SELECT state = 'removed' FROM replication_plugin.nodes WHERE is_local)$$);
INSERT INTO guest VALUES (8, 'lima');
-- forget_group() makes it a database of its own, without a word to the others: what there is of it elsewhere is not touched
SELECT replication_plugin.forget_group();
INSERT INTO guest VALUES (8, 'lima');
SELECT replication_plugin.join_group('lima', :'lima', via => :'tokyo', copy_schema => false, allow_existing => true);
SET client_min_messages = warning;
SELECT replication_plugin.wait_until_ready();
RESET client_min_messages;
SELECT * FROM everywhere('SELECT * FROM guest ORDER BY id');
-- who was there, and how it ended
SELECT n.node_id, n.node_name, n.state, n.reason FROM replication_plugin.node n ORDER BY 1;
SELECT on_all_nodes('DROP TABLE guest');
