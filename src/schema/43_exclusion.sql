-- Tables that are not replicated.

-- Notes whether a table is replicated; all nodes follow.
CREATE FUNCTION set_replicated(command text, relation regclass, on_or_off boolean) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	c record;
BEGIN
	PERFORM replication_plugin.require_arguments(command, relation::text);
	IF EXISTS (SELECT FROM replication_plugin.local_node) THEN
		PERFORM replication_plugin.require_ready();
	END IF;
	SELECT n.nspname, k.relname, k.relkind, k.relispartition INTO c
		FROM pg_class k JOIN pg_namespace n ON n.oid = k.relnamespace WHERE k.oid = relation;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no relation with OID %', relation::oid USING ERRCODE = '42P01';
	END IF;
	IF c.relkind NOT IN ('r', 'p') OR c.nspname IN ('replication_plugin', 'information_schema') OR c.nspname ~ '^pg_' THEN
		RAISE EXCEPTION '"%" is no table that could be replicated', relation USING ERRCODE = '42809',
			HINT = 'Ordinary and partitioned tables outside system schemas are replicated.';
	END IF;
	IF c.relispartition THEN
		RAISE EXCEPTION '"%" is a partition', relation USING ERRCODE = '42809',
			HINT = 'Name the partitioned table; its partitions follow it.';
	END IF;
	LOCK TABLE replication_plugin.table_setting IN SHARE ROW EXCLUSIVE MODE; -- ON CONFLICT is not for tables read in decoding
	UPDATE replication_plugin.table_setting s SET replicated = on_or_off
		WHERE s.schema_name = c.nspname AND s.table_name = c.relname;
	IF NOT FOUND THEN
		INSERT INTO replication_plugin.table_setting VALUES (c.nspname, c.relname, on_or_off);
	END IF;
	IF on_or_off AND replication_plugin.exclusion(c.nspname, c.relname) IS NOT NULL THEN
		PERFORM replication_plugin.add_exclusion(command, regexp_replace(c.nspname, '([\\*])', '\\\1', 'g'),
			regexp_replace(c.relname, '([\\*])', '\\\1', 'g'), false);
	END IF;
	IF on_or_off THEN
		PERFORM replication_plugin.require_no_foreign_partitions();
	END IF;
END
$$;
COMMENT ON FUNCTION set_replicated(text, regclass, boolean) IS 'notes whether a table is replicated; all nodes follow';

CREATE FUNCTION exclude_table(relation regclass) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$ BEGIN PERFORM replication_plugin.set_replicated('exclude_table()', relation, false); END $$;
COMMENT ON FUNCTION exclude_table(regclass) IS 'no longer replicates a table, on all nodes';

CREATE FUNCTION include_table(relation regclass) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$ BEGIN PERFORM replication_plugin.set_replicated('include_table()', relation, true); END $$;
COMMENT ON FUNCTION include_table(regclass) IS
	'replicates a table again, on all nodes; rows that differ by then stay different until they are written';

-- Adds a rule of which tables are replicated; all nodes follow.
CREATE FUNCTION add_exclusion(command text, schema_name text, table_name text, excluded boolean) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
	PERFORM replication_plugin.require_arguments(command, schema_name, table_name);
	IF EXISTS (SELECT FROM replication_plugin.local_node) THEN
		PERFORM replication_plugin.require_ready();
	END IF;
	IF schema_name IN ('replication_plugin', 'information_schema') OR schema_name ~ '^pg_' THEN
		RAISE EXCEPTION 'schema "%" is never replicated as users'' schemas are', schema_name USING ERRCODE = '42809',
			HINT = 'Ordinary and partitioned tables outside system schemas are replicated.';
	END IF;
	LOCK TABLE replication_plugin.exclusion IN SHARE ROW EXCLUSIVE MODE;
	INSERT INTO replication_plugin.exclusion (serial, set_by, schema_name, table_name, excluded)
		SELECT coalesce(max(e.serial), 0) + 1, coalesce(replication_plugin.my_id(), 0), $2, $3, $4 FROM replication_plugin.exclusion e;
	IF NOT excluded THEN
		PERFORM replication_plugin.require_no_foreign_partitions();
	END IF;
END
$$;
COMMENT ON FUNCTION add_exclusion(text, text, text, boolean) IS 'adds a rule of which tables are replicated; all nodes follow';

CREATE FUNCTION exclude_tables(schema_name text, table_name text DEFAULT '*') RETURNS void LANGUAGE plpgsql VOLATILE
AS $$ BEGIN PERFORM replication_plugin.add_exclusion('exclude_tables()', schema_name, table_name, true); END $$;
COMMENT ON FUNCTION exclude_tables(text, text) IS
	'no longer replicates the tables of these names, on all nodes, also those that are made later; * stands for any characters, \ before one for that one';

CREATE FUNCTION include_tables(schema_name text, table_name text DEFAULT '*') RETURNS void LANGUAGE plpgsql VOLATILE
AS $$ BEGIN PERFORM replication_plugin.add_exclusion('include_tables()', schema_name, table_name, false); END $$;
COMMENT ON FUNCTION include_tables(text, text) IS
	'replicates the tables of these names, on all nodes, also those that are made later; of the rules that match a table the newest counts';
