/*
 * sql.c
 *		Short SQL statements of the workers, each in a transaction of its own.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "replication/origin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "base/own_transaction.h"
#include "base/session.h"
#include "catalog/names.h"
#include "control/workers/sql.h"
#include "shared/origin_mark.h"

#define MAX_PARAMS	8
#define MAX_PLANS	200		/* statements whose plans are kept */

/* The plan of a statement, which this process keeps until it ends. */
typedef struct KeptPlan
{
	const char *sql;			/* the hash key */
	SPIPlanPtr	plan;			/* NULL: not prepared yet, or with an error */
} KeptPlan;

static uint32
kept_plan_hash(const void *key, Size size)
{
	const char *sql = *(const char *const *) key;

	return hash_bytes((const unsigned char *) sql, strlen(sql));
}

static int
kept_plan_compare(const void *a, const void *b, Size size)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static HTAB *
make_kept_plans(void)
{
	HASHCTL		ctl = {.keysize = sizeof(char *), .entrysize = sizeof(KeptPlan),
		.hash = kept_plan_hash, .match = kept_plan_compare, .hcxt = TopMemoryContext
	};

	return hash_create("plans of workers' statements", 64, &ctl,
					   HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
}

/*
 * Returns the plan of a statement whose parameters are texts. Workers run the same statements again
 * and again; if there are too many different ones, the plan lives until SPI_finish().
 */
static SPIPlanPtr
plan_of(const char *sql, int nparams, Oid *types)
{
	static HTAB *plans = NULL;
	KeptPlan   *kept;

	if (!plans)
		plans = make_kept_plans();
	kept = hash_search(plans, &sql, HASH_FIND, NULL);
	if (!kept && hash_get_num_entries(plans) >= MAX_PLANS)
		return SPI_prepare(sql, nparams, types);
	if (!kept)
	{
		const char *key = MemoryContextStrdup(TopMemoryContext, sql);

		kept = hash_search(plans, &key, HASH_ENTER, NULL);
		kept->plan = NULL;
	}
	session_keep_plan(&kept->plan, sql, nparams, types);
	return kept->plan;
}

OwnTransaction
sql_transaction_begin(void)
{
	OwnTransaction t = own_transaction_begin();

	(void) extension_lock();	/* if the extension does not exist, statements fail */
	own_transaction_snapshot(&t);
	return t;
}

/*
 * Runs a statement. Its rows are marked with the origin if that is valid; the transaction itself is
 * a local one. subtransactions: the statement may roll back some.
 */
static char *
sql_run(const char *sql, int nparams, const char *const *params, RepOriginId origin,
	bool subtransactions)
{
	OwnTransaction t;
	Oid			types[MAX_PARAMS];
	Datum		values[MAX_PARAMS];
	char		nulls[MAX_PARAMS];
	char	   *result = NULL;

	Assert(nparams <= MAX_PARAMS);
	t = sql_transaction_begin();
	if (subtransactions)
		origin_acquire_for_aborts(origin);
	SPI_connect();
	origin_mark(origin);
	for (int i = 0; i < nparams; i++)
	{
		types[i] = TEXTOID;
		nulls[i] = params[i] ? ' ' : 'n';
		values[i] = params[i] ? CStringGetTextDatum(params[i]) : (Datum) 0;
	}
	if (SPI_execute_plan(plan_of(sql, nparams, types), values, nulls, false, 0) < 0)
		elog(ERROR, "statement failed: %s", sql);
	if (SPI_processed > 0 && SPI_tuptable)
	{
		char	   *value = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);

		result = value ? MemoryContextStrdup(t.context, value) : NULL;
	}
	SPI_finish();
	origin_unmark();
	if (subtransactions)
		origin_give_back();
	own_transaction_end(&t);
	return result;
}

char *
sql_value(const char *sql, int nparams, const char *const *params)
{
	return sql_run(sql, nparams, params, InvalidRepOriginId, false);
}

char *
sql_repair(const char *sql, int nparams, const char *const *params, RepOriginId origin)
{
	return sql_run(sql, nparams, params, origin, false);
}

char *
sql_repair_with_subtransactions(const char *sql, int nparams, const char *const *params,
								RepOriginId origin)
{
	return sql_run(sql, nparams, params, origin, true);
}

char *
sql_value_int(const char *sql, int param)
{
	const char *params[1] = {psprintf("%d", param)};

	return sql_value(sql, 1, params);
}
