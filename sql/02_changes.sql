--
-- What is replicated: INSERT, UPDATE, DELETE and TRUNCATE of all tables, from every node to every other one.
--
\set SHOW_CONTEXT never
\c regression_tokyo

-- CREATE TABLE is not: tables are made on each node.
SELECT on_all_nodes('CREATE TABLE stock (id int PRIMARY KEY, item text, n int)');

--
-- A write on one node is a write on all. wait_for_apply() returns when all others have applied it.
--
INSERT INTO stock VALUES (1, 'rice', 10), (2, 'tea', 5), (3, 'salt', 1);
SELECT replication_plugin.wait_for_apply();
\c regression_paris
UPDATE stock SET n = n + 1 WHERE item = 'tea';
COPY stock FROM stdin;
4	wine	20
5	\N	\N
\.
SELECT replication_plugin.wait_for_apply();
\c regression_lima
DELETE FROM stock WHERE id = 3;
INSERT INTO stock VALUES (1, 'rice', 30) ON CONFLICT (id) DO UPDATE SET n = stock.n + excluded.n;
SELECT replication_plugin.wait_for_apply();
SELECT * FROM everywhere('SELECT * FROM stock ORDER BY id');

-- What is rolled back was never there. A transaction arrives as a whole.
BEGIN;
UPDATE stock SET n = 0;
SAVEPOINT s;
DELETE FROM stock;
ROLLBACK TO s;
INSERT INTO stock VALUES (6, 'salt', 0);
COMMIT;
BEGIN;
TRUNCATE stock;
ROLLBACK;
SELECT replication_plugin.wait_for_apply();
SELECT * FROM everywhere('SELECT * FROM stock ORDER BY id');

-- An update of the key is a delete of the old and an insert of the new one.
DELETE FROM stock WHERE id = 5;
UPDATE stock SET id = 60 WHERE id = 6;
UPDATE stock SET id = id + 1 WHERE id = 4;
SELECT replication_plugin.wait_for_apply();
SELECT * FROM everywhere('SELECT id, item FROM stock ORDER BY id');

-- TRUNCATE is the delete of the rows that its node had.
TRUNCATE stock;
SELECT replication_plugin.wait_for_apply();
SELECT * FROM everywhere('SELECT count(*) FROM stock');
INSERT INTO stock VALUES (1, 'rice again', 1);
SELECT replication_plugin.wait_for_apply();
SELECT * FROM everywhere('SELECT * FROM stock ORDER BY id');

--
-- Keys of several columns, partitions, generated columns, defaults
--
SELECT on_all_nodes('CREATE TABLE visit (city text, day date, visitors int DEFAULT 7, double int GENERATED ALWAYS AS (visitors * 2) STORED, PRIMARY KEY (day, city)) PARTITION BY RANGE (day)');
SELECT on_all_nodes('CREATE TABLE visit_2025 PARTITION OF visit FOR VALUES FROM (''2025-01-01'') TO (''2026-01-01'')');
-- nodes may cut a table differently
\c regression_tokyo
CREATE TABLE visit_later PARTITION OF visit DEFAULT;
\c regression_paris
CREATE TABLE visit_2026 PARTITION OF visit FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
\c regression_lima
CREATE TABLE visit_2026 PARTITION OF visit FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
CREATE TABLE visit_rest PARTITION OF visit DEFAULT;
INSERT INTO visit VALUES ('lima', '2025-06-01', DEFAULT), ('lima', '2026-06-01', 8);
UPDATE visit SET day = '2026-12-01' WHERE day = '2025-06-01'; -- moves to another partition
SELECT replication_plugin.wait_for_apply();
SELECT * FROM everywhere('SELECT * FROM visit ORDER BY day');
SELECT * FROM everywhere('SELECT tableoid::regclass, count(*) FROM visit GROUP BY tableoid ORDER BY tableoid::regclass::text');

--
-- Tables without a key
--
SELECT on_all_nodes('CREATE TABLE log (said text)');
INSERT INTO log VALUES ('one'), ('two'), ('two'), ('three');
UPDATE log SET said = 'four' WHERE said = 'one';
-- the whole row is its key then
SELECT on_all_nodes('ALTER TABLE log REPLICA IDENTITY FULL');
UPDATE log SET said = 'four' WHERE said = 'one';
DELETE FROM log WHERE ctid = (SELECT min(ctid) FROM log WHERE said = 'two'); -- one of two that are alike
SELECT replication_plugin.wait_for_apply();
SELECT * FROM everywhere('SELECT said FROM log ORDER BY 1');
SELECT "table", replicated, identity, note FROM replication_plugin.tables WHERE "table" IN ('log'::regclass, 'stock'::regclass) ORDER BY 1;

--
-- Triggers of replicated tables fire where somebody writes, and on other nodes only if they are to fire ALWAYS (or for replicas).
--
SELECT on_all_nodes('CREATE TABLE fired (what text)');
SELECT replication_plugin.exclude_table('fired'); -- is not replicated from now on: each node has its own
CALL wait_until_everywhere('SELECT replicated FROM replication_plugin.tables WHERE "table" = ''fired''::regclass', 'f');
SELECT on_all_nodes('CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN INSERT INTO public.fired VALUES (TG_NAME || '' '' || TG_OP); RETURN NEW; END $f$');
SELECT on_all_nodes('CREATE TRIGGER plain AFTER INSERT OR UPDATE OR DELETE ON stock FOR EACH ROW EXECUTE FUNCTION fire()');
SELECT on_all_nodes('CREATE TRIGGER always AFTER INSERT OR UPDATE OR DELETE ON stock FOR EACH ROW EXECUTE FUNCTION fire()');
SELECT on_all_nodes('ALTER TABLE stock ENABLE ALWAYS TRIGGER always');
UPDATE stock SET n = 2;
SELECT replication_plugin.wait_for_apply();
SELECT * FROM everywhere('SELECT what FROM fired ORDER BY 1');
SELECT on_all_nodes('DROP FUNCTION fire() CASCADE');
SELECT "table", replicated, note FROM replication_plugin.tables WHERE "table" = 'fired'::regclass;

-- The table is taken in again, on all nodes; rows that differ by then stay as they are until they are written.
SELECT replication_plugin.include_table('fired');
CALL wait_until_everywhere('SELECT replicated FROM replication_plugin.tables WHERE "table" = ''fired''::regclass', 't');
INSERT INTO fired VALUES ('everywhere');
SELECT replication_plugin.wait_for_apply();
SELECT * FROM everywhere('SELECT what FROM fired ORDER BY 1');

SELECT on_all_nodes('DROP TABLE visit, log, fired');
