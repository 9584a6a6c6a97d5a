-- Roles that rights of the extension are given to. They belong to the whole server, and several databases share them: those that CREATE EXTENSION has made
-- carry a mark that only superusers can have set. Another one of that name is taken only if it gives nothing to anybody.
DO $$
DECLARE
	wanted record;
	r record;
	problem text;
BEGIN
	FOR wanted IN SELECT * FROM (VALUES
		('replication_plugin_peer', 'what the role needs with which nodes of a replication group connect to this server, beside LOGIN and REPLICATION'),
		('replication_plugin_admin', 'may call the commands of replication_plugin'),
		('replication_plugin_monitor', 'sees how replication is doing')) w(name, description)
	LOOP
		IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles a WHERE a.rolname OPERATOR(pg_catalog.=) wanted.name::pg_catalog.name) THEN
			LOCK TABLE pg_catalog.pg_authid IN SHARE ROW EXCLUSIVE MODE; -- another database may be doing the same
			IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles a WHERE a.rolname OPERATOR(pg_catalog.=) wanted.name::pg_catalog.name) THEN
				EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', wanted.name);
				EXECUTE pg_catalog.format('COMMENT ON ROLE %I IS %L', wanted.name, wanted.description);
			END IF;
		END IF;
		SELECT a.*, EXISTS (SELECT FROM pg_catalog.pg_db_role_setting s WHERE s.setrole OPERATOR(pg_catalog.=) a.oid
				AND s.setdatabase OPERATOR(pg_catalog.=) 0::pg_catalog.oid AND 'replication_plugin.prepared_role=on' OPERATOR(pg_catalog.=) ANY (s.setconfig)) AS marked,
			EXISTS (SELECT FROM pg_catalog.pg_auth_members m WHERE m.roleid OPERATOR(pg_catalog.=) a.oid) AS has_members,
			EXISTS (SELECT FROM pg_catalog.pg_auth_members m WHERE m.member OPERATOR(pg_catalog.=) a.oid) AS is_member
			INTO r FROM pg_catalog.pg_roles a WHERE a.rolname OPERATOR(pg_catalog.=) wanted.name::pg_catalog.name;
		problem := CASE WHEN r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls OR r.rolcanlogin
				THEN 'has rights that a role of the extension does not have'
			WHEN r.marked THEN NULL WHEN r.has_members THEN 'has members' WHEN r.is_member THEN 'is a member of other roles' END;
		IF problem IS NOT NULL THEN
			RAISE EXCEPTION 'role "%" exists already, and %', wanted.name, problem USING ERRCODE = '42710',
				DETAIL = 'The extension gives rights to the role of this name, and takes only one that nobody else uses.',
				HINT = CASE WHEN r.marked OR NOT (r.has_members OR r.is_member) THEN
						pg_catalog.format('ALTER ROLE %I NOLOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS', wanted.name)
					ELSE pg_catalog.format('If it is another one''s: ALTER ROLE %I RENAME TO ..., and the extension makes its own', wanted.name) END || '; then try again.';
		END IF;
		IF NOT r.marked THEN
			EXECUTE pg_catalog.format('ALTER ROLE %I SET replication_plugin.prepared_role = on', wanted.name);
		END IF;
	END LOOP;
END
$$;
