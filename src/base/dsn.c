/*
 * dsn.c
 *		Parses and resolves a dsn: options of libpq, or the name of a foreign server that has
 *		them.
 *
 * "foreign_server=NAME" stands for the libpq options of a foreign server of this database, of its
 * foreign-data wrapper (postgres_fdw, dblink_fdw), and of its user mapping for the role that the
 * extension's workers run as, or else for PUBLIC. All nodes know a dsn, and each node uses its own
 * server of that name. So a password can differ between nodes, can change, and is in no replicated
 * row. The server is looked up for each connection.
 *
 * Nothing may stand beside the name. Otherwise whoever tells a node a dsn could have a password of
 * that node sent to a host of his choice. For the same reason the server must belong to a
 * superuser: its owner decides where it leads, and makes the mapping for PUBLIC.
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "base/dsn.h"
#include "base/own_transaction.h"
#include "base/session.h"

#define FOREIGN_SERVER	"foreign_server"

PQconninfoOption *
dsn_parse(const char *dsn)
{
	char	   *message = NULL;
	PQconninfoOption *options = PQconninfoParse(dsn, &message);
	char	   *detail;

	if (options)
		return options;

	/* libpq quotes the part that it cannot parse, which may be part of a password */
	if (message == NULL || strstr(dsn, "pass") || strstr(dsn, "://"))
		detail = NULL;
	else
		detail = pchomp(message);
	if (message)
		PQfreemem(message);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid dsn"),
			 detail ? errdetail_internal("%s", detail) : 0,
			 errhint("A dsn looks like 'host=db1.example.com port=5432 dbname=app user=replicator' or 'postgresql://replicator@db1.example.com:5432/app'.")));
	return NULL;				/* keep the compiler quiet */
}

const char *
dsn_value(const PQconninfoOption *options, const char *keyword)
{
	for (; options->keyword; options++)
	{
		if (strcmp(options->keyword, keyword) == 0)
			return options->val && options->val[0] ? options->val : NULL;
	}
	return NULL;
}

/* Appends keyword='value' as libpq reads it. */
static void
append_option(StringInfo buf, const char *keyword, const char *value)
{
	appendStringInfo(buf, "%s%s=", buf->len ? " " : "", keyword);
	if (value[0] && strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/,:@") == strlen(value))
	{
		appendStringInfoString(buf, value);
		return;
	}
	appendStringInfoChar(buf, '\'');
	for (; *value; value++)
	{
		if (*value == '\'' || *value == '\\')
			appendStringInfoChar(buf, '\\');
		appendStringInfoChar(buf, *value);
	}
	appendStringInfoChar(buf, '\'');
}

/* ---------- foreign servers ---------- */

/* Raises an error for a dsn that begins with the name of a foreign server and is malformed. */
static void
refuse_server_dsn(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid dsn"),
			 errdetail("Beside \"%s\" there can be nothing: where it leads is said by the options of the server, and who connects by its user mapping.", FOREIGN_SERVER),
			 errhint("A dsn looks like '%s=tokyo'. Options are set with ALTER SERVER and ALTER USER MAPPING.", FOREIGN_SERVER)));
}

/* Returns the name of the foreign server that a dsn names, palloc'd; NULL if it names none. */
static char *
server_named(const char *dsn)
{
	const char *p = dsn + strspn(dsn, " \t\n");
	StringInfoData name;
	bool		quoted;

	if (strncmp(p, FOREIGN_SERVER, strlen(FOREIGN_SERVER)) != 0)
		return NULL;
	p += strlen(FOREIGN_SERVER);
	p += strspn(p, " \t\n");
	if (*p != '=')
		return NULL;			/* libpq raises the error */
	p += 1 + strspn(p + 1, " \t\n");
	quoted = *p == '\'';
	p += quoted;
	initStringInfo(&name);
	for (; *p && (quoted ? *p != '\'' : !strchr(" \t\n", *p)); p++)
	{
		if (*p == '\\' && p[1])
			p++;
		appendStringInfoChar(&name, *p);
	}
	if (quoted && *p++ != '\'')
		refuse_server_dsn();
	if (name.len == 0 || p[strspn(p, " \t\n")])
		refuse_server_dsn();
	return name.data;
}

/* Returns true for an option of libpq, other than those that the extension sets itself. */
static bool
is_libpq_option(const PQconninfoOption *known, const char *keyword)
{
	if (strcmp(keyword, "client_encoding") == 0 || strcmp(keyword, "replication") == 0)
		return false;
	for (; known->keyword; known++)
	{
		if (strcmp(known->keyword, keyword) == 0)
			return true;
	}
	return false;
}

/* Appends the libpq options of a list. Of options with the same name, the last one counts. */
static void
append_options_of(StringInfo buf, const PQconninfoOption *known, List *options)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);

		if (is_libpq_option(known, option->defname))
			append_option(buf, option->defname, defGetString(option));
	}
}

/*
 * Returns the options of the user mapping for a role, or for PUBLIC (InvalidOid), in *options.
 * Returns false if there is no such mapping.
 */
static bool
mapping_options(Oid role, Oid server, List **options)
{
	HeapTuple tuple =
		SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(role), ObjectIdGetDatum(server));
	bool		isnull;
	Datum		stored;

	if (!HeapTupleIsValid(tuple))
		return false;
	stored = SysCacheGetAttr(USERMAPPINGUSERSERVER, tuple, Anum_pg_user_mapping_umoptions, &isnull);
	*options = isnull ? NIL : untransformRelOptions(stored);
	ReleaseSysCache(tuple);
	return true;
}

/* The state of a foreign server. */
typedef enum ServerState
{
	SERVER_USABLE,
	SERVER_MISSING,
	SERVER_OF_NO_SUPERUSER,
	SERVER_WITHOUT_MAPPING
} ServerState;

/*
 * Looks up a foreign server. Needs a transaction. If the server is usable, *options receives its
 * options as a dsn, palloc'd.
 */
static ServerState
look_up_server(const char *name, char **options)
{
	ForeignServer *server = GetForeignServerByName(name, true);
	List	   *mapping;
	PQconninfoOption *known;
	StringInfoData buf;

	if (!server)
		return SERVER_MISSING;
	if (!superuser_arg(server->owner))
		return SERVER_OF_NO_SUPERUSER;
	if (!mapping_options(BOOTSTRAP_SUPERUSERID, server->serverid, &mapping) &&
		!mapping_options(InvalidOid, server->serverid, &mapping))
		return SERVER_WITHOUT_MAPPING;
	known = dsn_parse("");
	initStringInfo(&buf);
	append_options_of(&buf, known, GetForeignDataWrapper(server->fdwid)->options);
	append_options_of(&buf, known, server->options);
	append_options_of(&buf, known, mapping);
	PQconninfoFree(known);
	*options = buf.data;
	return SERVER_USABLE;
}

/* Raises the error for a server that is not usable. role: the role that workers run as. */
static void
refuse_server(ServerState state, const char *name, const char *role)
{
	const char *server = quote_identifier(name);
	const char *user = quote_identifier(role);

	switch (state)
	{
		case SERVER_MISSING:
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("foreign server \"%s\", which a dsn names, does not exist on this node", name),
					 errhint("Each node needs one of that name: CREATE SERVER %s FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '...', dbname '...');"
							 " CREATE USER MAPPING FOR %s SERVER %s OPTIONS (user '...', password '...')", server, user, server)));
			break;
		case SERVER_OF_NO_SUPERUSER:
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("foreign server \"%s\", which a dsn names, does not belong to a superuser", name),
					 errdetail("Its owner could have this node connect anywhere, and send a password there."),
					 errhint("When its options are right: ALTER SERVER %s OWNER TO %s", server, user)));
			break;
		case SERVER_WITHOUT_MAPPING:
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("foreign server \"%s\", which a dsn names, has no user mapping for \"%s\" on this node", name, role),
					 errdetail("Nodes connect by the user mapping of the role that workers of replication_plugin run as, or of PUBLIC."),
					 errhint("CREATE USER MAPPING FOR %s SERVER %s OPTIONS (user '...', password '...')", user, server)));
			break;
		case SERVER_USABLE:
			break;
	}
}

char *
dsn_resolve(const char *dsn, bool missing_ok)
{
	OwnTransaction t;
	char	   *server = server_named(dsn);
	ServerState state;
	char	   *options;
	char	   *role;

	if (!server)
		return pstrdup(dsn);
	t = own_transaction_ensure();
	MemoryContextSwitchTo(t.context);
	state = look_up_server(server, &options);
	role = GetUserNameFromId(BOOTSTRAP_SUPERUSERID, false);
	own_transaction_end(&t);
	if (state == SERVER_USABLE)
		return options;
	if (!missing_ok)
		refuse_server(state, server, role);
	return pstrdup(dsn);
}

/* ---------- output ---------- */

char *
dsn_without_secrets(const char *dsn)
{
	char	   *server = server_named(dsn);
	PQconninfoOption *options;
	StringInfoData buf;

	initStringInfo(&buf);
	if (server)
	{
		append_option(&buf, FOREIGN_SERVER, server);
		return buf.data;
	}
	options = dsn_parse(dsn);
	for (PQconninfoOption *o = options; o->keyword; o++)
	{
		/* libpq marks secrets by a display character '*' */
		if (o->val && o->val[0] && o->dispchar[0] != '*')
			append_option(&buf, o->keyword, o->val);
	}
	PQconninfoFree(options);
	return buf.data;
}

char *
dsn_for_program(const char *dsn, bool superuser)
{
	PQconninfoOption *options = dsn_parse(dsn);
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, dsn_without_secrets(dsn));
	/* the last "options" counts; programs may sort as much as a schema needs, where allowed */
	append_option(&buf, "options",
				  psprintf("%s%s", session_peer_options(dsn_value(options, "options")),
						   superuser ? " -c temp_file_limit=-1" : ""));
	PQconninfoFree(options);
	return buf.data;
}
