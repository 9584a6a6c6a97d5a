/*
 * target_import.c
 *		import: states and parked rows as a new member gets them. The input is: kind, table, a jsonb as text.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "apply/apply.h"
#include "control/join/park_copy.h"
#include "control/join/state_copy.h"
#include "fuzz.h"

static const char *const state_tables[] = {"wiki", "shop", "altered"};
static const char *const parked_tables[] = {"places", "plain", "parted", "shop", "keyless"};

static Oid	state_relids[lengthof(state_tables)];
static Oid	parked_relids[lengthof(parked_tables)];
static ApplyContext *applier;

static Oid
relid_of(const char *name)
{
	return RangeVarGetRelid(makeRangeVar("fuzz", pstrdup(name), -1), AccessShareLock, false);
}

static void
prepare(void)
{
	for (int i = 0; i < lengthof(state_tables); i++)
		state_relids[i] = relid_of(state_tables[i]);
	for (int i = 0; i < lengthof(parked_tables); i++)
		parked_relids[i] = relid_of(parked_tables[i]);
	applier = apply_create();
	apply_init(applier, 2, "host=/nowhere", frontier_create());
}

static void
import(FuzzInput *in)
{
	bool		parked = fuzz_byte(in) % 2;
	int			table = fuzz_byte(in);
	Datum		entry;

	entry = DirectFunctionCall1(jsonb_in, CStringGetDatum(fuzz_text(in)));
	if (parked)
		park_import(parked_relids[table % lengthof(parked_tables)], DatumGetJsonbP(entry));
	else
	{
		Relation	rel = table_open(state_relids[table % lengthof(state_tables)], RowExclusiveLock);

		state_import(rel, DatumGetJsonbP(entry));
		table_close(rel, NoLock);
	}
}

/* Each in a transaction that is taken back. */
static bool
run(FuzzInput *in)
{
	MemoryContext context = CurrentMemoryContext;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		import(in);
	}
	PG_CATCH();
	{
		AbortCurrentTransaction();
		apply_reset(applier);
		MemoryContextSwitchTo(context);
		PG_RE_THROW();
	}
	PG_END_TRY();
	PopActiveSnapshot();
	AbortCurrentTransaction();
	apply_reset(applier);
	MemoryContextSwitchTo(context);
	return true;
}

/* ---------- seeds ---------- */

static void
seed(const char *name, int parked, int table, const char *text)
{
	fuzz_seed(name, psprintf("%c%c%s", parked + 2, table + 10 * 3, text), strlen(text) + 2);
}

static void
seeds(void)
{
	seed("wiki", 0, 0, "{\"key\":{\"id\":\"1\"},\"columns\":{},\"siblings\":[{\"node\":2,\"ts\":800000000000000,\"plain\":false,\"deleted\":false,"
		 "\"values\":{\"id\":\"1\",\"t\":\"x\",\"n\":\"1.5\"}},{\"plain\":true,\"deleted\":true,\"values\":{\"id\":\"1\"}}]}");
	seed("shop", 0, 1, "{\"key\":{\"id\":\"1\"},\"columns\":{\"likes\":\"62000100\",\"tags\":\"\"},\"siblings\":[{\"node\":2,\"ts\":8,\"plain\":false,"
		 "\"deleted\":false,\"values\":{\"id\":\"1\",\"tags\":\"{a}\",\"doc\":\"{}\"}}]}");
	seed("parked", 1, 0, "{\"parked\":{\"id\":\"9\",\"email\":\"a@b\",\"span\":\"[1,2)\"},\"index\":\"places_email_key\",\"blocked_by\":{\"id\":\"1\"},"
		 "\"node\":1,\"ts\":800000000000000}");
	seed("pinned", 1, 2, "{\"pinned\":{\"id\":\"1\",\"region\":\"eu\"},\"node\":1,\"ts\":800000000000000}");
}

const FuzzTarget fuzz_import = {"import", prepare, run, seeds,.own_transactions = true,.internal_errors = false};
