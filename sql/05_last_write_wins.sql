--
-- Conflicts: two nodes write the same row, and neither has seen the other's write. By default the last write wins, on all nodes
-- the same; what lost is kept in the view conflicts.
--
\set SHOW_CONTEXT never
\c regression_tokyo
SELECT on_all_nodes('CREATE TABLE account (id int PRIMARY KEY, owner text, balance int)');
INSERT INTO account SELECT i, 'nobody', 0 FROM generate_series(1, 5) i;
SELECT replication_plugin.wait_for_apply();
-- What a node has to tell of its conflicts. A conflict of two nodes is told by both; a third node that has it all later tells one as well.
SELECT on_all_nodes($$ CREATE VIEW told AS SELECT table_name, conflict_type, resolution, row_key ->> 'id' AS id, local_row ->> 'owner' AS local, local_origin,
	remote_row ->> 'owner' AS remote, remote_origin, concurrent, policy FROM replication_plugin.conflicts ORDER BY id $$);

--
-- No conflict: a write that has seen what it replaces, whoever wrote that.
--
UPDATE account SET owner = 'tokyo' WHERE id = 1;
SELECT replication_plugin.wait_for_apply();
\c regression_paris
UPDATE account SET owner = 'paris, after tokyo' WHERE id = 1;
SELECT replication_plugin.wait_for_apply();
SELECT * FROM everywhere('SELECT owner FROM account WHERE id = 1');
SELECT * FROM everywhere('SELECT count(*) FROM told');

--
-- Nobody hears of the others until release(): paris writes later, and wins.
--
\c regression_tokyo
SELECT hold();
UPDATE account SET owner = 'tokyo' WHERE id = 2; -- against an update
UPDATE account SET owner = 'tokyo' WHERE id = 3; -- against a delete
DELETE FROM account WHERE id = 4;                -- against an update
DELETE FROM account WHERE id = 5;                -- against a delete: both want the same
INSERT INTO account VALUES (6, 'tokyo', 6);      -- against an insert
\c regression_paris
UPDATE account SET balance = 1 WHERE id = 2;
DELETE FROM account WHERE id = 3;
UPDATE account SET owner = 'paris' WHERE id = 4;
DELETE FROM account WHERE id = 5;
INSERT INTO account VALUES (6, 'paris', 60);
SELECT release();
-- of row 2 the whole write counts, not only the column that it changed; row 4 is back
SELECT * FROM everywhere('SELECT * FROM account WHERE id > 1 ORDER BY id');
-- what lost here, and what it lost to
SELECT conflict_type, resolution, id, local, local_origin, remote, remote_origin, concurrent FROM told;
\c regression_tokyo
SELECT conflict_type, resolution, id, local, local_origin, remote, remote_origin, concurrent FROM told;
SELECT table_name, conflict_type, resolution, count, not_logged FROM replication_plugin.conflict_stats ORDER BY 2, 3;

--
-- A write that comes later wins over two earlier ones, whoever hears of them first; and one that has seen a conflict's outcome is no
-- conflict with either side.
--
SELECT hold();
UPDATE account SET owner = 'tokyo' WHERE id = 1;
\c regression_lima
UPDATE account SET owner = 'lima' WHERE id = 1;
\c regression_paris
UPDATE account SET owner = 'paris' WHERE id = 1;
SELECT release();
SELECT * FROM everywhere('SELECT owner FROM account WHERE id = 1');
\c regression_lima
UPDATE account SET owner = 'lima, after all' WHERE id = 1;
SELECT replication_plugin.wait_for_apply();
SELECT * FROM everywhere('SELECT owner FROM account WHERE id = 1');
SELECT * FROM everywhere('SELECT count(*) FROM told WHERE ''lima, after all'' IN (local, remote)');

--
-- Updates of a key: of the key that is left and of the one that is taken each has its own fate.
--
\c regression_tokyo
SELECT hold();
UPDATE account SET id = 10, owner = 'tokyo moves it' WHERE id = 6;
\c regression_paris
UPDATE account SET owner = 'paris stays' WHERE id = 6;
INSERT INTO account VALUES (10, 'paris', 10);
SELECT release();
SELECT * FROM everywhere('SELECT id, owner FROM account WHERE id IN (6, 10) ORDER BY id');

--
-- TRUNCATE deletes what its node had; a row that another one wrote later comes back, one that its node did not have stays.
--
\c regression_tokyo
SELECT hold();
TRUNCATE account;
\c regression_paris
UPDATE account SET owner = 'paris, later' WHERE id = 2;
INSERT INTO account VALUES (7, 'paris, elsewhere', 7);
SELECT release();
SELECT * FROM everywhere('SELECT id, owner FROM account ORDER BY id');

SELECT on_all_nodes('DROP VIEW told; DROP TABLE account');
