-- Settings of the whole group.

CREATE FUNCTION set_group_setting(name text, value text) RETURNS void LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
	s record;
BEGIN
	PERFORM replication_plugin.require_arguments('set_group_setting()', name, value);
	PERFORM replication_plugin.require_ready();
	SELECT * INTO s FROM replication_plugin.group_settings g WHERE g.name = set_group_setting.name;
	IF name = 'protocol' THEN
		RAISE EXCEPTION 'group setting "protocol" is only raised, and by finish_upgrade()' USING ERRCODE = '22023',
			HINT = 'SELECT replication_plugin.finish_upgrade() when all members have the newer version.';
	ELSIF NOT FOUND THEN
		RAISE EXCEPTION 'there is no group setting "%"', name USING ERRCODE = '22023',
			HINT = 'The view replication_plugin.group_settings has them all.';
	ELSIF value <> ALL (s.allowed) THEN
		RAISE EXCEPTION 'group setting "%" cannot be "%"', name, value USING ERRCODE = '22023',
			HINT = 'It can be ' || array_to_string(s.allowed, ' or ') || '.';
	END IF;
	LOCK TABLE replication_plugin.group_setting IN SHARE ROW EXCLUSIVE MODE;
	INSERT INTO replication_plugin.group_setting (name, serial, set_by, value)
		SELECT $1, coalesce(max(p.serial), 0) + 1, replication_plugin.my_id(), $2
		FROM replication_plugin.group_setting p WHERE p.name = $1;
END
$$;
COMMENT ON FUNCTION set_group_setting(text, text) IS
	'sets something for the whole group, on all nodes as the change reaches them; the view group_settings says what there is';
