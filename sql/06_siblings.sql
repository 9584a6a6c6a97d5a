--
-- Siblings: a table that keeps all concurrent values of a row, until somebody who has seen them writes it.
--
\set SHOW_CONTEXT never
\c regression_tokyo
SELECT on_all_nodes('CREATE TABLE wiki (id int PRIMARY KEY, title text, body text)');
SELECT replication_plugin.set_conflict_policy('wiki', 'siblings');
INSERT INTO wiki VALUES (1, 'A', 'first'), (2, 'A', 'second'), (3, 'A', 'third'), (5, 'A', 'fifth');
SELECT replication_plugin.wait_for_apply();
SELECT * FROM everywhere('SELECT policy FROM replication_plugin.tables WHERE "table" = ''wiki''::regclass');
-- Newest first: where, what
SELECT on_all_nodes($$ CREATE FUNCTION values_of(page int) RETURNS TABLE (node text, deleted boolean, title text, body text) LANGUAGE sql AS $f$
	SELECT node, deleted, "row" ->> 'title', "row" ->> 'body' FROM replication_plugin.siblings('wiki', jsonb_build_object('id', page)) $f$ $$);

--
-- Two writes, neither of which has seen the other: both are kept; the table shows the newer.
--
SELECT hold();
UPDATE wiki SET title = 'B' WHERE id = 1;
UPDATE wiki SET title = 'B' WHERE id = 2;
DELETE FROM wiki WHERE id = 3;
INSERT INTO wiki VALUES (4, 'tokyo', 'new');
DELETE FROM wiki WHERE id = 5;
\c regression_paris
UPDATE wiki SET title = 'C' WHERE id = 1;
DELETE FROM wiki WHERE id = 2; -- a delete is a value as well
UPDATE wiki SET body = 'still needed' WHERE id = 3;
INSERT INTO wiki VALUES (4, 'paris', 'new');
DELETE FROM wiki WHERE id = 5; -- both agree
SELECT release();
SELECT * FROM everywhere('SELECT * FROM wiki ORDER BY id');
SELECT * FROM everywhere('SELECT * FROM values_of(1)');
SELECT * FROM everywhere('SELECT * FROM values_of(2)');
SELECT * FROM everywhere('SELECT * FROM values_of(3)');
SELECT * FROM everywhere('SELECT * FROM values_of(4)');
-- a list of what is to be decided
SELECT * FROM everywhere('SELECT "table", row_key, siblings FROM replication_plugin.unresolved ORDER BY 2');
-- of row 5 there is nothing to decide
SELECT * FROM everywhere('SELECT * FROM values_of(5)');
-- nothing has lost; both say so
SELECT conflict_type, resolution, row_key, policy FROM replication_plugin.conflicts WHERE table_name = 'public.wiki' ORDER BY row_key;

--
-- Who decides writes the row: that replaces all values that his node has.
--
SELECT replication_plugin.resolve('wiki', '{"id": 1}', '{"title": "B and C", "body": "first"}');
UPDATE wiki SET title = 'paris it is' WHERE id = 4; -- a plain write does the same
SELECT replication_plugin.resolve('wiki', '{"id": 2}', NULL); -- null: the row goes
SELECT replication_plugin.wait_for_apply();
SELECT * FROM everywhere('SELECT * FROM wiki ORDER BY id');
SELECT * FROM everywhere('SELECT row_key, siblings FROM replication_plugin.unresolved ORDER BY 1');
SELECT * FROM everywhere('SELECT * FROM values_of(2)');

--
-- A third write meets two: tokyo decides between two values, lima adds a third one meanwhile. What tokyo has seen is replaced,
-- what it has not seen stays.
--
\c regression_tokyo
SELECT hold();
UPDATE wiki SET body = 'tokyo decides' WHERE id = 3;
\c regression_lima
UPDATE wiki SET body = 'lima decides' WHERE id = 3;
SELECT release();
SELECT * FROM everywhere('SELECT * FROM values_of(3)');

--
-- Causal contexts: an application that shows a row to somebody keeps what it has read, and says so when it writes. So a
-- write does not replace what came in between.
--
\c regression_tokyo
SELECT replication_plugin.causal_context('wiki', '{"id": 1}') AS context \gset
UPDATE wiki SET body = 'in between' WHERE id = 1;
BEGIN;
SET LOCAL replication_plugin.causal_context = :'context';
UPDATE wiki SET title = 'of what I had read' WHERE id = 1;
COMMIT;
SELECT replication_plugin.wait_for_apply();
SELECT * FROM everywhere('SELECT * FROM values_of(1)');
-- the same by resolve(); also on another node, which waits until it has had what was read
SELECT replication_plugin.causal_context('wiki', '{"id": 1}') AS context \gset
\c regression_paris
SELECT replication_plugin.resolve('wiki', '{"id": 1}', '{"title": "one again", "body": "first"}', :'context');
SELECT replication_plugin.wait_for_apply();
SELECT * FROM everywhere('SELECT * FROM values_of(1)');
-- 'none': nothing was read, nothing is replaced
BEGIN;
SET LOCAL replication_plugin.causal_context = 'none';
UPDATE wiki SET title = 'blind' WHERE id = 1;
COMMIT;
SELECT * FROM values_of(1);
-- a context that is none; one of which this node has not had all yet
BEGIN;
SET LOCAL replication_plugin.causal_context = 'nonsense';
ROLLBACK;
\c regression_tokyo
SELECT hold();
UPDATE wiki SET title = 'only tokyo has this' WHERE id = 1;
SELECT replication_plugin.causal_context('wiki', '{"id": 1}') AS context \gset
\c regression_paris
BEGIN;
SET LOCAL replication_plugin.causal_context = :'context';
\set VERBOSITY sqlstate
UPDATE wiki SET title = 'x' WHERE id = 1;
\set VERBOSITY default
ROLLBACK;
SELECT release();
SELECT * FROM everywhere('SELECT * FROM values_of(1)');

--
-- Back to last write wins: siblings go when somebody writes the row.
--
SELECT replication_plugin.set_conflict_policy('wiki', 'last_write_wins');
SELECT replication_plugin.wait_for_apply();
SELECT * FROM everywhere('SELECT policy FROM replication_plugin.tables WHERE "table" = ''wiki''::regclass');
SELECT on_all_nodes('DROP FUNCTION values_of; DROP TABLE wiki');

-- What is kept of rows that both have deleted goes when all nodes have both deletes: lesson 10 looks for it.
SELECT on_all_nodes('CREATE TABLE forgotten (id int PRIMARY KEY)');
SELECT replication_plugin.set_conflict_policy('forgotten', 'siblings');
INSERT INTO forgotten VALUES (1), (2);
SELECT replication_plugin.wait_for_apply();
SELECT hold();
DELETE FROM forgotten;
\c regression_tokyo
DELETE FROM forgotten;
SELECT release();
