/*
 * names.c
 *		SQL functions that return the names of replication slots and origins of this database.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "catalog/names.h"

PG_FUNCTION_INFO_V1(replication_plugin_slot_name);
PG_FUNCTION_INFO_V1(replication_plugin_group_slot_name);
PG_FUNCTION_INFO_V1(replication_plugin_origin_name);

Datum
replication_plugin_slot_name(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(slot_name(MyDatabaseId, PG_GETARG_INT32(0))));
}

Datum
replication_plugin_group_slot_name(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(group_slot_name(MyDatabaseId)));
}

/* The argument is the number of a node, or what other origins have in its place. */
Datum
replication_plugin_origin_name(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("replication_plugin_%u_%s", MyDatabaseId,
											  text_to_cstring(PG_GETARG_TEXT_PP(0)))));
}
