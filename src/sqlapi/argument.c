/*
 * argument.c
 *		Arguments of SQL functions that name an object.
 */
#include "postgres.h"

#include "access/table.h"
#include "utils/syscache.h"

#include "sqlapi/argument.h"

Relation
argument_table(Oid relid, LOCKMODE mode)
{
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("there is no relation with OID %u", relid)));
	return table_open(relid, mode);
}
