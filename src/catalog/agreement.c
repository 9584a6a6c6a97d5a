/*
 * agreement.c
 *		What the members of the group have agreed on: the protocol, and with it the features and
 *		the columns of the extension's own tables that all of them know.
 *
 * The members may have the last two versions of the extension. A newer one behaves like the older
 * one until finish_upgrade() has raised the agreed protocol, which needs all members to have the
 * newer version. So no outcome depends on which members were updated first (docs/protocol.md,
 * Versions).
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "catalog/agreement.h"
#include "catalog/group_setting.h"
#include "catalog/nodes.h"
#include "wire/protocol.h"

/* A feature, and the protocol with which it came. */
typedef struct Feature
{
	const char *name;
	int			since;
} Feature;

/* Features that change outcomes. None was added after version 1.1. */
static const Feature features[] = {
#ifdef REPLICATION_PLUGIN_NEXT
	{"pretended", 6},
#endif
	{NULL}
};

/* A replicated table of the extension, or a column of one, and the protocol with which it came. */
typedef struct OwnSince
{
	const char *table;
	const char *column;			/* NULL: the table itself */
	int			since;
} OwnSince;

/* Those that were added after version 1.1. */
static const OwnSince additions[] = {
#ifdef REPLICATION_PLUGIN_NEXT
	{"group_setting", "note", 6},
#endif
	{NULL}
};

int
group_protocol(void)
{
	char	   *value = group_setting(GROUP_SETTING_PROTOCOL);

	return value ? Max(atoi(value), WIRE_PROTOCOL_FIRST) : WIRE_PROTOCOL_FIRST;
}

char *
protocol_problem(int protocol, char **fix)
{
	if (protocol >= WIRE_PROTOCOL_OLDEST && protocol <= WIRE_PROTOCOL_VERSION)
		return NULL;
	*fix = protocol > WIRE_PROTOCOL_VERSION ?
		pstrdup("Install the version of the other members on this server, restart it, and call ALTER EXTENSION replication_plugin UPDATE.") :
		pstrdup("Install the version that follows that of the other members; a newer one is next, after SELECT replication_plugin.finish_upgrade().");
	return psprintf("the group has agreed on protocol %d, and version %s of the extension on this server speaks protocols %d to %d",
					protocol, EXTENSION_VERSION, WIRE_PROTOCOL_OLDEST, WIRE_PROTOCOL_VERSION);
}

/* Returns the feature with a name, or raises an error. */
static const Feature *
find_feature(const char *name)
{
	for (const Feature *f = features; f->name; f++)
	{
		if (strcmp(f->name, name) == 0)
			return f;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("version %s of the extension has no feature \"%s\"", EXTENSION_VERSION, name)));
	return NULL;
}

bool
feature_is_agreed(const char *name)
{
	return group_protocol() >= find_feature(name)->since;
}

/* Appends a member to a list of members that lack a feature, with its version. */
static void
append_member(StringInfo list, const NodeRow *n, const char *told)
{
	char		version[32] = "";

	if (told && sscanf(told, "extension=%31s", version) == 1)
		appendStringInfo(list, "%s\"%s\" (version %s)", list->len ? ", " : "", n->node_name,
						 version);
	else
		appendStringInfo(list, "%s\"%s\" (which has not told its version yet)",
						 list->len ? ", " : "", n->node_name);
}

/* Returns the members whose library does not speak a protocol, for people; empty if all do. */
static char *
members_without(int protocol)
{
	StringInfoData list;
	ListCell   *lc;

	initStringInfo(&list);
	foreach(lc, nodes_all())
	{
		NodeRow    *n = lfirst(lc);
		char	   *told = group_setting(psprintf(GROUP_SETTING_VERSION, n->node_id));
		char	   *place = told ? strstr(told, " newest=") : NULL;

		if (strcmp(n->state, "removed") != 0 &&
			!(place && atoi(place + strlen(" newest=")) >= protocol))
			append_member(&list, n, told);
	}
	return list.data;
}

void
feature_require(const char *name)
{
	const Feature *f = find_feature(name);
	char	   *lacking;

	if (group_protocol() >= f->since)
		return;
	lacking = members_without(f->since);
	if (lacking[0])
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("feature \"%s\" cannot be used yet: these members of the group lack it: %s", name, lacking),
				 errhint("Update the extension there, then call SELECT replication_plugin.finish_upgrade() on any member.")));
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("feature \"%s\" cannot be used yet: all members have it, and the group has not agreed on it", name),
			 errhint("SELECT replication_plugin.finish_upgrade()")));
}

char *
feature_names(void)
{
	StringInfoData list;

	initStringInfo(&list);
	for (const Feature *f = features; f->name; f++)
		appendStringInfo(&list, "%s%s", list.len ? "," : "", f->name);
	return list.data;
}

int
own_table_since(const char *table, const char *column)
{
	for (const OwnSince *a = additions; a->table; a++)
	{
		if (strcmp(a->table, table) == 0 &&
			(a->column && column ? strcmp(a->column, column) == 0 : a->column == column))
			return a->since;
	}
	return WIRE_PROTOCOL_FIRST;
}
