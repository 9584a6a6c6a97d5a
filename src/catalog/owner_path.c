/*
 * owner_path.c
 *		The search_path under which a role's functions run when rows of its tables are written.
 *
 * PostgreSQL's own subscriptions run such functions under an empty search_path, so that names
 * without a schema are not found. Here they run as in a session of the table's owner, except that
 * pg_catalog comes first, so that no user can replace a built-in object by his own, and pg_temp
 * comes last. The path is looked up once in a transaction.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_db_role_setting.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "base/compat.h"
#include "base/session.h"
#include "catalog/owner_path.h"

#define BUILT_IN_PATH	"\"$user\", public"	/* PostgreSQL's default */

static const char path_in_files_sql[] =
	"SELECT setting FROM pg_catalog.pg_file_settings WHERE name = 'search_path' AND applied";

/* The path of a role. */
typedef struct RolePath
{
	Oid			role;			/* hash key */
	LocalTransactionId read_in; /* transaction in which it was looked up */
	char	   *path;
} RolePath;

/* The values that this process has looked up. */
static struct
{
	HTAB	   *paths;
	char	   *in_files;		/* value in the configuration files as of read_at; NULL: none */
	TimestampTz read_at;		/* PgReloadTime at that time; 0: not read yet */
}			known;

/* ---------- where it is set ---------- */

/* Returns the value of search_path in a list of settings; NULL if it is not there. */
static char *
value_in(ArrayType *settings)
{
	Datum	   *values;
	int			n;

	deconstruct_array(settings, TEXTOID, -1, false, TYPALIGN_INT, &values, NULL, &n);
	for (int i = 0; i < n; i++)
	{
		char	   *name;
		char	   *value;

		ParseLongOption(TextDatumGetCString(values[i]), &name, &value);
		if (value && pg_strcasecmp(name, "search_path") == 0)
			return value;
	}
	return NULL;
}

/*
 * Returns the search_path that ALTER DATABASE or ALTER ROLE has set for a database and a role
 * (InvalidOid: for all); NULL if there is none.
 */
static char *
path_for(Relation settings, Oid database, Oid role)
{
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	char	   *path = NULL;

	ScanKeyInit(&keys[0], Anum_pg_db_role_setting_setdatabase, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(database));
	ScanKeyInit(&keys[1], Anum_pg_db_role_setting_setrole, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(role));
	scan = systable_beginscan(settings, DbRoleSettingDatidRolidIndexId, true, NULL, 2, keys);
	if ((tuple = systable_getnext(scan)) != NULL)
	{
		bool		isnull;
		Datum		list = heap_getattr(tuple, Anum_pg_db_role_setting_setconfig,
										RelationGetDescr(settings), &isnull);

		path = isnull ? NULL : value_in(DatumGetArrayTypePCopy(list));
	}
	systable_endscan(scan);
	return path;
}

/*
 * Reads the value in the server's configuration files. In a worker the setting itself does not
 * tell, because it is pinned.
 */
static void
read_files(void)
{
	Oid			user;
	int			security;
	int			nest;

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, security | SECURITY_LOCAL_USERID_CHANGE);
	nest = session_sql_begin();
	if (SPI_execute(path_in_files_sql, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read the server's settings");
	if (known.in_files)
		pfree(known.in_files);
	known.in_files =
		SPI_processed == 0
			? NULL
			: MemoryContextStrdup(TopMemoryContext,
								  SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	session_sql_end(nest);
	SetUserIdAndSecContext(user, security);
	known.read_at = PgReloadTime;
}

/* Returns the search_path that a new session of a role would have in this database, palloc'd. */
static char *
session_path(Oid role)
{
	Relation	settings = table_open(DbRoleSettingRelationId, AccessShareLock);
	char	   *path = path_for(settings, MyDatabaseId, role);

	if (!path)
		path = path_for(settings, InvalidOid, role);
	if (!path)
		path = path_for(settings, MyDatabaseId, InvalidOid);
	if (!path)
		path = path_for(settings, InvalidOid, InvalidOid);
	table_close(settings, AccessShareLock);
	if (path)
		return path;
	if (known.read_at == 0 || known.read_at != PgReloadTime)
		read_files();
	return pstrdup(known.in_files ? known.in_files : BUILT_IN_PATH);
}

/* ---------- how it is used ---------- */

/* Puts pg_catalog in front and pg_temp at the end. */
static char *
owner_path_in_order(char *path)
{
	List	   *names;
	ListCell   *lc;
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "pg_catalog");
	if (!SplitIdentifierString(path, ',', &names))
		names = NIL;			/* a session would not accept it either */
	foreach(lc, names)
	{
		const char *name = lfirst(lc);

		if (strcmp(name, "pg_catalog") != 0 && strcmp(name, "pg_temp") != 0 && name[0] != '\0')
			appendStringInfo(&buf, ", %s", quote_identifier(name));
	}
	appendStringInfoString(&buf, ", pg_temp");
	return buf.data;
}

/* Returns the entry of a role. The path of a new entry is NULL. */
static RolePath *
owner_path_entry_of(Oid role)
{
	RolePath   *entry;
	bool		found;

	if (!known.paths)
	{
		HASHCTL ctl = {.keysize = sizeof(Oid),
					   .entrysize = sizeof(RolePath),
					   .hcxt = TopMemoryContext};

		known.paths =
			hash_create("paths of owners", 16, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	entry = hash_search(known.paths, &role, HASH_ENTER, &found);
	if (!found)
		entry->path = NULL;
	return entry;
}

const char *
owner_path(Oid role)
{
	RolePath   *entry = owner_path_entry_of(role);
	char	   *path;

	if (entry->path && entry->read_in == own_local_xid())
		return entry->path;
	path = owner_path_in_order(session_path(role));
	if (!entry->path || strcmp(entry->path, path) != 0)
	{
		char	   *old = entry->path;

		entry->path = MemoryContextStrdup(TopMemoryContext, path);
		if (old)
			pfree(old);
	}
	entry->read_in = own_local_xid();
	return entry->path;
}
