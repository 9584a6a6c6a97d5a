-- Tokens: what a client has written, so that other nodes can tell whether they have it.

CREATE FUNCTION write_token() RETURNS text
AS 'MODULE_PATHNAME', 'replication_plugin_write_token' LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION write_token() IS
	'a token of the last commit of this session that wrote replicated rows; null if there was none';

CREATE FUNCTION covers(token text) RETURNS boolean
AS 'MODULE_PATHNAME', 'replication_plugin_covers' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION covers(text) IS
	'whether this node has all that a token stands for; SQLSTATE RP010: malformed, RP011: of another group, RP012: of a newer version, RP013: lost';

CREATE FUNCTION wait_for(token text, timeout interval DEFAULT '10 seconds') RETURNS boolean
AS 'MODULE_PATHNAME', 'replication_plugin_wait_for' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION wait_for(text, interval) IS
	'waits until this node has all that a token stands for; false after the timeout; refused under REPEATABLE READ and SERIALIZABLE, where SET LOCAL replication_plugin.after does it';
