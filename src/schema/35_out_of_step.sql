-- Tables of which writes got past the triggers that capture them.

-- The marks that no resend_table() has undone: one that had seen the transaction.
CREATE VIEW out_of_step_mark AS
	SELECT m.schema_name, m.table_name, m.node_id, m.lsn, m.what, m.noted_at FROM replication_plugin.out_of_step m
	WHERE m.seen IS NULL AND NOT EXISTS (SELECT FROM replication_plugin.out_of_step r
		WHERE (r.schema_name, r.table_name) = (m.schema_name, m.table_name) AND r.seen IS NOT NULL
			AND coalesce(replication_plugin.frontier_lsn(r.seen, m.node_id) >= m.lsn, false));
COMMENT ON VIEW out_of_step_mark IS 'tables whose rows may differ between nodes, as writes got past the triggers';

-- The output plugin has seen writes that were not captured, up to a position of this node's WAL. One mark of a node is enough for a table.
CREATE FUNCTION note_out_of_step(token bigint, schema_name text, table_name text, lsn pg_lsn, what text) RETURNS boolean
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	me integer := replication_plugin.my_id();
BEGIN
	IF token <> replication_plugin.instance_token() THEN
		RAISE EXCEPTION 'the dsn of this node leads to another server' USING ERRCODE = '55000';
	END IF;
	INSERT INTO replication_plugin.out_of_step (schema_name, table_name, node_id, lsn, what)
		SELECT $2, $3, me, $4, $5
		WHERE NOT EXISTS (SELECT FROM replication_plugin.out_of_step_mark m WHERE (m.schema_name, m.table_name, m.node_id) = ($2, $3, me))
			AND NOT EXISTS (SELECT FROM replication_plugin.out_of_step r WHERE (r.schema_name, r.table_name) = ($2, $3)
				AND replication_plugin.frontier_lsn(r.seen, me) >= $4)
		ON CONFLICT ON CONSTRAINT out_of_step_pkey DO NOTHING;
	RETURN FOUND;
END
$$;
COMMENT ON FUNCTION note_out_of_step(bigint, text, text, pg_lsn, text) IS
	'marks a table of which a transaction of this node has written past the triggers; false if it is marked, or has been sent again since';
