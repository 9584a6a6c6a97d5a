/*
 * sql.c
 *		Short SQL statements of the workers, each in a transaction of its own.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "replication/origin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/own_transaction.h"
#include "catalog/names.h"
#include "control/workers/sql.h"

#define MAX_PARAMS	8

/*
 * Runs a statement. Its rows are marked with the origin if that is valid; the transaction itself is
 * a local one.
 */
static char *
run(const char *sql, int nparams, const char *const *params, RepOriginId origin)
{
	OwnTransaction t;
	Oid			types[MAX_PARAMS];
	Datum		values[MAX_PARAMS];
	char		nulls[MAX_PARAMS];
	char	   *result = NULL;

	Assert(nparams <= MAX_PARAMS);
	t = own_transaction_begin();
	(void) extension_lock();	/* if the extension does not exist, the statement fails */
	own_transaction_snapshot(&t);
	SPI_connect();
	replorigin_session_origin = origin;
	for (int i = 0; i < nparams; i++)
	{
		types[i] = TEXTOID;
		nulls[i] = params[i] ? ' ' : 'n';
		values[i] = params[i] ? CStringGetTextDatum(params[i]) : (Datum) 0;
	}
	if (SPI_execute_with_args(sql, nparams, types, values, nulls, false, 0) < 0)
		elog(ERROR, "statement failed: %s", sql);
	if (SPI_processed > 0 && SPI_tuptable)
	{
		char	   *value = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);

		result = value ? MemoryContextStrdup(t.context, value) : NULL;
	}
	SPI_finish();
	replorigin_session_origin = InvalidRepOriginId;
	own_transaction_end(&t);
	return result;
}

char *
sql_value(const char *sql, int nparams, const char *const *params)
{
	return run(sql, nparams, params, InvalidRepOriginId);
}

char *
sql_repair(const char *sql, int nparams, const char *const *params, RepOriginId origin)
{
	return run(sql, nparams, params, origin);
}

char *
sql_value_int(const char *sql, int param)
{
	const char *params[1] = {psprintf("%d", param)};

	return sql_value(sql, 1, params);
}
