-- What people had granted on the views.
DO $$
DECLARE
	g record;
BEGIN
	FOR g IN SELECT * FROM granted_on_views WHERE pg_catalog.to_regclass('replication_plugin.' || pg_catalog.quote_ident(relname)) IS NOT NULL LOOP
		EXECUTE pg_catalog.format('GRANT %s ON replication_plugin.%I TO %s', g.privilege_type, g.relname, g.grantee);
	END LOOP;
END
$$;
ALTER EXTENSION replication_plugin DROP TABLE granted_on_views;
DROP TABLE granted_on_views;
