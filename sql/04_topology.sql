--
-- Topologies: who takes changes from whom. Any member sets one, and all follow, at any time; what a node writes reaches all in
-- each of them.
--
\set SHOW_CONTEXT never
\c regression_tokyo
SELECT on_all_nodes('CREATE TABLE hop (n serial PRIMARY KEY, shape text, node text)');
-- Each node writes a row, and has all others take it, one after the other.
CREATE FUNCTION write_everywhere(shape text) RETURNS void LANGUAGE sql AS $$
	SELECT replication_plugin.remote_query(n.dsn, 'SELECT 1 / replication_plugin.wait_for_apply()::integer', before =>
		format('INSERT INTO public.hop SELECT coalesce(max(n), 0) + 1, %L, %L FROM public.hop', shape, n.node_name))
	FROM replication_plugin.node n WHERE n.state = 'ready' ORDER BY n.node_id
$$;

-- all to all, as it was from the beginning: each link carries what its provider writes itself
CALL wait_until_everywhere('SELECT links_stand(6)', 't');
SELECT provider, subscriber, full_origins, kind FROM replication_plugin.topology ORDER BY 1, 2;
SELECT write_everywhere('all to all');

-- a star: the hub, named first, hands on what the others write
SELECT replication_plugin.set_topology('star', nodes => '{paris,tokyo,lima}');
CALL wait_until_everywhere('SELECT links_stand(4)', 't');
SELECT provider, subscriber, full_origins, kind FROM replication_plugin.topology ORDER BY 1, 2;
SELECT write_everywhere('star');

-- another hub; without a list the nodes are taken in the order of their numbers. Set on a leaf, here.
\c regression_lima
SELECT replication_plugin.set_topology('star');
\c regression_tokyo
CALL wait_until_everywhere('SELECT links_stand(4) AND bool_and(''tokyo'' IN (provider, subscriber)) FROM replication_plugin.topology', 't');
SELECT * FROM everywhere('SELECT provider, full_origins FROM replication_plugin.links WHERE kind = ''topology'' ORDER BY 1');
SELECT write_everywhere('another star');

-- a ring: each takes from the one before it
SELECT replication_plugin.set_topology('ring', '{tokyo,lima,paris}');
CALL wait_until_everywhere('SELECT links_stand(3)', 't');
SELECT provider, subscriber, full_origins, kind FROM replication_plugin.topology ORDER BY 1, 2;
SELECT write_everywhere('ring');
-- as text to draw, for Mermaid and for Graphviz (without what is said of the links)
SELECT regexp_replace(replication_plugin.topology_graph(), '(-->\|)"[^"]*"', '\1"..."', 'g');
SELECT regexp_replace(replication_plugin.topology_graph('dot'), '(-> n[0-9]+ \[label=)"[^"]*"', '\1"..."', 'g');

-- links one by one: the topology is "custom" from then on
SELECT replication_plugin.add_link('paris', 'lima');
SELECT replication_plugin.add_link('lima', 'tokyo');
SELECT replication_plugin.drop_link('paris', 'tokyo');
CALL wait_until_everywhere('SELECT links_stand(4)', 't');
SELECT provider, subscriber, full_origins, kind FROM replication_plugin.topology ORDER BY 1, 2;
SELECT write_everywhere('custom');
-- a link without which a node would hear nothing, or not be heard
SELECT replication_plugin.drop_link('lima', 'tokyo');
SELECT replication_plugin.drop_link('lima', 'paris');
SELECT replication_plugin.add_link('lima', 'tokyo');
SELECT replication_plugin.drop_link('tokyo', 'paris');
-- no links that there could be
SELECT replication_plugin.add_link('tokyo', 'tokyo');
SELECT replication_plugin.add_link('tokyo', 'quito');
SELECT replication_plugin.set_topology('star', '{tokyo,paris}');
SELECT replication_plugin.set_topology('star', '{tokyo,paris,quito}');
SELECT replication_plugin.set_topology('star', '{tokyo,paris,lima,paris}');
SELECT replication_plugin.set_topology('custom', '{tokyo,paris,lima}');
SELECT replication_plugin.set_topology('bus');
-- "custom" by itself keeps the links that there are
SELECT replication_plugin.set_topology('custom');
SELECT provider, subscriber, kind FROM replication_plugin.topology ORDER BY 1, 2;

-- and back
SELECT replication_plugin.set_topology('all_to_all');
CALL wait_until_everywhere('SELECT links_stand(6)', 't');
SELECT write_everywhere('all to all again');

-- What was written in all of them is everywhere.
SELECT * FROM everywhere('SELECT shape, string_agg(node, '' '' ORDER BY n) FROM hop GROUP BY 1 ORDER BY min(n)');
DROP FUNCTION write_everywhere;
SELECT on_all_nodes('DROP TABLE hop');
