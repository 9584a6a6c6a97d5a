--
-- Policies that decide: your own function, the node, the first write. They say what a table shows of the concurrent values of a
-- row; the values stay until somebody writes the row.
--
\set SHOW_CONTEXT never
\c regression_tokyo

--
-- A handler: (older, newer) of the table's rows. Folded over the values from the oldest to the newest.
--
SELECT on_all_nodes('CREATE TABLE cart (id int PRIMARY KEY, items text[] CHECK (cardinality(items) < 6), total numeric)');
SELECT on_all_nodes($$ CREATE FUNCTION merge_cart(older cart, newer cart) RETURNS cart LANGUAGE sql AS $f$
	SELECT newer.id, ARRAY(SELECT unnest(older.items) UNION SELECT unnest(newer.items) ORDER BY 1), greatest(older.total, newer.total) $f$ $$);
SELECT replication_plugin.set_conflict_policy('cart', 'handler', 'merge_cart(cart,cart)');
-- what it would make of two rows, either of them the older one
SELECT * FROM replication_plugin.test_handler('cart', '{"id": 1, "items": ["a"], "total": 2}', '{"id": 1, "items": ["b"], "total": 1}');
INSERT INTO cart VALUES (1, '{}', 0), (2, '{}', 0), (3, '{}', 0);
SELECT replication_plugin.wait_for_apply();
SELECT hold();
UPDATE cart SET items = '{book}', total = 20 WHERE id = 1;
UPDATE cart SET items = '{a,b,c}' WHERE id = 2;
DELETE FROM cart WHERE id = 3;
\c regression_paris
UPDATE cart SET items = '{soap}', total = 2 WHERE id = 1;
UPDATE cart SET items = '{d,e,f}' WHERE id = 2;
UPDATE cart SET items = '{tea}' WHERE id = 3;
\c regression_lima
UPDATE cart SET items = items || '{dvd}'::text[], total = 9 WHERE id = 1;
SELECT release();
-- 1: all three; 2: six would be one too many, so the newest write shows as it was; 3: a delete has no row to merge
SELECT * FROM everywhere('SELECT * FROM cart ORDER BY id');
SELECT * FROM everywhere('SELECT row_key, siblings FROM replication_plugin.unresolved WHERE "table" = ''cart''::regclass ORDER BY 1');
\c regression_tokyo
SELECT row_key, detail FROM replication_plugin.conflicts WHERE table_name = 'public.cart' AND detail IS NOT NULL;
-- a handler that fails changes nothing: the newest shows
SELECT on_all_nodes($$ CREATE OR REPLACE FUNCTION merge_cart(older cart, newer cart) RETURNS cart LANGUAGE plpgsql AS $f$
	BEGIN RAISE EXCEPTION 'I do not know'; END $f$ $$);
SELECT * FROM replication_plugin.test_handler('cart', '{"id": 1, "items": ["a"]}', '{"id": 1, "items": ["b"]}');
SELECT hold();
UPDATE cart SET items = '{one}' WHERE id = 2;
\c regression_paris
UPDATE cart SET items = '{two}' WHERE id = 2;
SELECT release();
SELECT * FROM everywhere('SELECT items FROM cart WHERE id = 2');
SELECT detail FROM replication_plugin.conflicts WHERE table_name = 'public.cart' AND row_key = '{"id": 2}' ORDER BY detected_at DESC LIMIT 1;
-- not every function can be one
SELECT on_all_nodes('CREATE FUNCTION other(int, int) RETURNS int LANGUAGE sql AS ''SELECT 1''');
SELECT replication_plugin.set_conflict_policy('cart', 'handler', 'other(int,int)');
SELECT replication_plugin.set_conflict_policy('cart', 'handler');
SELECT replication_plugin.set_conflict_policy('cart', 'siblings', 'merge_cart(cart,cart)');
SELECT replication_plugin.set_conflict_policy('cart', 'handler', 'no_such_function(cart,cart)');
SELECT replication_plugin.set_conflict_policy('cart', 'coin');
SELECT replication_plugin.test_handler('city', '{}', '{}');

--
-- Node priority: of concurrent writes that of the node that is named first shows. First write wins: the oldest does.
--
SELECT on_all_nodes('CREATE TABLE seat (id int PRIMARY KEY, guest text)');
SELECT replication_plugin.set_node_priority('{paris,lima,tokyo}');
SELECT replication_plugin.set_conflict_policy('seat', 'node_priority');
INSERT INTO seat VALUES (1, NULL), (2, NULL);
SELECT replication_plugin.wait_for_apply();
SELECT hold();
\c regression_paris
UPDATE seat SET guest = 'paris' WHERE id = 1;
\c regression_tokyo
UPDATE seat SET guest = 'tokyo' WHERE id = 1;
UPDATE seat SET guest = 'tokyo' WHERE id = 2;
\c regression_lima
UPDATE seat SET guest = 'lima' WHERE id = 1;
UPDATE seat SET guest = 'lima' WHERE id = 2;
SELECT release();
SELECT * FROM everywhere('SELECT * FROM seat ORDER BY id');
-- another order, or another policy: the same values, shown otherwise, on all nodes
SELECT replication_plugin.set_node_priority('{tokyo}');
SELECT replication_plugin.wait_for_apply();
SELECT * FROM everywhere('SELECT * FROM seat ORDER BY id');
SELECT replication_plugin.set_conflict_policy('seat', 'first_write_wins');
SELECT replication_plugin.wait_for_apply();
SELECT * FROM everywhere('SELECT * FROM seat ORDER BY id');
SELECT replication_plugin.set_node_priority('{quito}');
SELECT replication_plugin.set_node_priority('{paris,paris}');
-- what has seen the others replaces them, whatever the policy
UPDATE seat SET guest = 'lima, having seen it' WHERE id = 1;
SELECT replication_plugin.wait_for_apply();
SELECT * FROM everywhere('SELECT * FROM seat ORDER BY id');

SELECT on_all_nodes('DROP FUNCTION merge_cart CASCADE; DROP FUNCTION other; DROP TABLE cart, seat');
