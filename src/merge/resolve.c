/*
 * resolve.c
 *		Determines the row that a set of siblings shows.
 *
 * The result is never written as a new version, so two nodes that resolve the same set concurrently
 * cannot disagree. A handler is folded over the live siblings from the oldest to the newest, so it
 * need be neither commutative nor associative. If it raises an error, returns null, changes the key
 * or violates a constraint, the newest live sibling shows instead. If merged columns together
 * violate a constraint that each write satisfied, the newest live sibling shows as it was written.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_proc.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/syscache.h"

#include "base/session.h"
#include "catalog/nodes.h"
#include "catalog/owner_path.h"
#include "catalog/table_info.h"
#include "merge/merge_columns.h"
#include "merge/resolve.h"
#include "store/row_estate.h"

/* The input of a resolution. */
typedef struct Resolving
{
	const TablePolicy *policy;
	RowCodec   *codec;
	const SiblingSet *set;
	const MergedColumns *merged;
} Resolving;

/*
 * Returns the rank of a write's node in the policy's priority list; nodes that are not listed come
 * last.
 */
static int
rank_of(const TablePolicy *policy, Version version)
{
	NodeId		node = version_is_self(version) ? nodes_local_id() : version.node;

	for (int i = 0; i < policy->npriority; i++)
	{
		if (policy->priority[i] == node)
			return i;
	}
	return policy->npriority;
}

/*
 * Returns the sibling of the node that comes first; among several siblings of one node, or of nodes
 * that are not listed, the newest.
 */
static int
by_priority(const TablePolicy *policy, const SiblingSet *set)
{
	int			best = 0;

	for (int i = 1; i < set->n; i++)
	{
		if (rank_of(policy, set->items[i].version) < rank_of(policy, set->items[best].version))
			best = i;
	}
	return best;
}

/* Returns the sibling that shows if no handler makes a row of the siblings. */
static int
resolve_choose(const TablePolicy *policy, const SiblingSet *set)
{
	switch (policy->policy)
	{
		case POLICY_LAST_WRITE_WINS:
		case POLICY_SIBLINGS:
			return 0;
		case POLICY_FIRST_WRITE_WINS:
			return set->n - 1;
		case POLICY_NODE_PRIORITY:
			return by_priority(policy, set);
		case POLICY_HANDLER:
			for (int i = 0; i < set->n; i++)
			{
				if (!set->items[i].deleted)
					return i;
			}
			return 0;
	}
	return 0;
}

/* ---------- handlers ---------- */

void
resolve_check_handler(Relation rel, Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Oid			type = rel->rd_rel->reltype;
	Form_pg_proc p;
	bool		fits;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION), errmsg("there is no function with OID %u", function)));
	p = (Form_pg_proc) GETSTRUCT(tuple);
	fits = p->prokind == PROKIND_FUNCTION && !p->proretset && p->pronargs == 2 &&
		   p->prorettype == type && p->proargtypes.values[0] == type &&
		   p->proargtypes.values[1] == type;
	ReleaseSysCache(tuple);
	if (!fits)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
				 errmsg("function %s cannot merge rows of table \"%s\"", format_procedure(function),
						RelationGetRelationName(rel)),
				 errhint("A handler is a function (older %s, newer %s) RETURNS %s.", RelationGetRelationName(rel),
						 RelationGetRelationName(rel), RelationGetRelationName(rel))));
}

/* Returns a row as a value of the table's type. */
static Datum
resolve_composite(Relation rel, TupleTableSlot *slot)
{
	HeapTuple	tuple = ExecCopySlotHeapTuple(slot);

	return heap_copy_tuple_as_datum(tuple, RelationGetDescr(rel));
}

/* Stores a value of the table's type in a slot. */
static void
take_composite(Relation rel, Datum value, TupleTableSlot *slot)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(value);
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(header),.t_data = header};

	ExecClearTuple(slot);
	heap_deform_tuple(&tuple, RelationGetDescr(rel), slot->tts_values, slot->tts_isnull);
	ExecStoreVirtualTuple(slot);
}

void
resolve_call_handler(Relation rel, Oid function, TupleTableSlot *older, TupleTableSlot *newer,
					 TupleTableSlot *result)
{
	LOCAL_FCINFO(fcinfo, 2);
	FmgrInfo	flinfo;
	Datum		value;

	Assert(session_in_row());
	fmgr_info(function, &flinfo);
	InitFunctionCallInfoData(*fcinfo, &flinfo, 2, InvalidOid, NULL, NULL);
	fcinfo->args[0] = (NullableDatum) {resolve_composite(rel, older), false};
	fcinfo->args[1] = (NullableDatum) {resolve_composite(rel, newer), false};
	value = FunctionCallInvoke(fcinfo);
	if (fcinfo->isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("handler %s returned null", format_procedure(function))));
	take_composite(rel, value, result);
}

/* Raises an error if a merged row has another key than the siblings. */
static void
check_key(Relation rel, TupleTableSlot *merged, TupleTableSlot *sibling)
{
	AttrNumber *attnums;
	int			n = table_key_attributes(rel, &attnums);

	for (int i = 0; i < n; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), attnums[i] - 1);
		bool		null_a,
					null_b;
		Datum		a = slot_getattr(merged, att->attnum, &null_a);
		Datum		b = slot_getattr(sibling, att->attnum, &null_b);

		if (null_a || null_b || !datum_image_eq(a, b, att->attbyval, att->attlen))
			ereport(ERROR,
					(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
					 errmsg("the handler changed key column \"%s\"", NameStr(att->attname))));
	}
}

/*
 * Raises an error if a merged row violates a constraint of the table. Names in constraints are
 * resolved with the search path of the owner.
 */
static void
check_constraints(Relation rel, TupleTableSlot *slot)
{
	ResultRelInfo *rri;
	EState	   *estate;
	int			nest;

	Assert(session_in_row());
	if (!RelationGetDescr(rel)->constr)
		return;
	nest = session_pin_path(owner_path(rel->rd_rel->relowner));
	estate = row_estate(rel, &rri);
	slot->tts_tableOid = RelationGetRelid(rel);
	ExecConstraints(rri, slot, estate);
	FreeExecutorState(estate);
	session_unpin(nest);
}

/* Builds the row of a sibling, with the values of merged columns. */
static void
sibling_row(const Resolving *r, int i, TupleTableSlot *slot)
{
	row_decode(r->codec, &r->set->items[i], slot);
	merge_columns_show(r->policy, r->merged, slot);
}

/* Does the same with generated columns, as a handler or a constraint sees the row. */
static void
resolve_complete_row(Relation rel, const Resolving *r, int i, TupleTableSlot *slot)
{
	sibling_row(r, i, slot);
	row_generate(rel, slot);
}

/* Folds the handler over the live siblings. */
static void
resolve_fold(Relation rel, Oid function, const Resolving *r, TupleTableSlot *slot)
{
	TupleTableSlot *next = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
	bool		first = true;

	for (int i = r->set->n - 1; i >= 0; i--)
	{
		if (r->set->items[i].deleted)
			continue;
		if (first)
			resolve_complete_row(rel, r, i, slot);
		else
		{
			resolve_complete_row(rel, r, i, next);
			resolve_call_handler(rel, function, slot, next, slot);
			row_generate(rel, slot);
			check_key(rel, slot, next);
		}
		first = false;
	}
	ExecDropSingleTupleTableSlot(next);
	check_constraints(rel, slot);
}

/* Finds the handler by its signature. */
static Oid
handler_oid(const TablePolicy *policy)
{
	LOCAL_FCINFO(fcinfo, 1);
	Datum		oid;

	if (!policy->handler)
		return InvalidOid;
	InitFunctionCallInfoData(*fcinfo, NULL, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0] = (NullableDatum) {CStringGetTextDatum(policy->handler), false};
	oid = to_regprocedure(fcinfo);
	return fcinfo->isnull ? InvalidOid : DatumGetObjectId(oid);
}

/*
 * Makes a row by the handler, or of one sibling and the merged columns. Raises an error if the row
 * violates a rule of the table.
 */
static void
resolve_compose(Relation rel, const Resolving *r, int index, TupleTableSlot *slot)
{
	Oid			function;

	if (index >= 0)
		resolve_complete_row(rel, r, index, slot);
	else
	{
		function = handler_oid(r->policy);
		if (!OidIsValid(function))
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
							errmsg("there is no function %s", r->policy->handler ? r->policy->handler : "")));
		resolve_check_handler(rel, function);
		resolve_fold(rel, function, r, slot);
	}
	check_constraints(rel, slot);
	row_forget_virtual(rel, slot);
	ExecMaterializeSlot(slot);
}

/*
 * Ends the failed subtransaction, and returns the error message. Rethrows errors that the row has
 * not caused.
 */
static char *
take_failure(MemoryContext context)
{
	ErrorData  *edata;

	MemoryContextSwitchTo(context);
	edata = CopyErrorData();
	switch (edata->sqlerrcode)
	{
		case ERRCODE_QUERY_CANCELED:
		case ERRCODE_ADMIN_SHUTDOWN:
		case ERRCODE_OUT_OF_MEMORY:
		case ERRCODE_T_R_DEADLOCK_DETECTED:
		case ERRCODE_LOCK_NOT_AVAILABLE:
			PG_RE_THROW();
		default:
			break;
	}
	FlushErrorState();
	RollbackAndReleaseCurrentSubTransaction();
	return edata->message;
}

OwnerContext
resolve_as_owner(Relation rel, bool with_handler)
{
	OwnerContext saved = as_owner_begin(rel->rd_rel->relowner);

	SetUserIdAndSecContext(rel->rd_rel->relowner, saved.security | SESSION_ROW |
													  SECURITY_LOCAL_USERID_CHANGE |
													  SECURITY_RESTRICTED_OPERATION);
	if (with_handler)
		(void) session_pin_code(
			psprintf("%s, pg_catalog, pg_temp",
					 quote_identifier(get_namespace_name(RelationGetNamespace(rel)))));
	return saved;
}

/*
 * Composes a row as the owner, in a subtransaction. Returns the error message if that failed, or
 * NULL.
 */
static char *
try_compose(Relation rel, const Resolving *r, int index, TupleTableSlot *slot)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	char	   *volatile failure = NULL;
	OwnerContext saved = resolve_as_owner(rel, index < 0);

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		resolve_compose(rel, r, index, slot);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		failure = take_failure(context);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	as_owner_end(saved);
	return failure;
}

/* Returns the newest sibling that is not a delete, or -1. */
static int
newest_live(const SiblingSet *set)
{
	for (int i = 0; i < set->n; i++)
	{
		if (!set->items[i].deleted)
			return i;
	}
	return -1;
}

/* Returns true if there are at least two live siblings, so that the handler is needed. */
static bool
has_two_live(const SiblingSet *set)
{
	int			n = 0;

	for (int i = 0; i < set->n; i++)
		n += !set->items[i].deleted;
	return n > 1;
}

/*
 * Makes the row as the table's owner, because reading values runs checks of the owner's types.
 * Returns false if no row is shown.
 */
static bool
resolve_make_row(Relation rel, const TablePolicy *policy, RowCodec *codec, const SiblingSet *set,
		 const MergedColumns *merged, TupleTableSlot *slot, Shown *shown)
{
	Resolving	r = {policy, codec, set, merged};

	if (policy->policy == POLICY_HANDLER && has_two_live(set))
	{
		shown->failure = try_compose(rel, &r, -1, slot);
		if (!shown->failure)
			return true;
	}
	shown->index = resolve_choose(policy, set);
	if (set->items[shown->index].deleted)
		return false;
	if (merged->n == 0 || !RelationGetDescr(rel)->constr ||
		RelationGetDescr(rel)->constr->num_check == 0)
	{
		sibling_row(&r, shown->index, slot);
		return true;
	}
	shown->failure = try_compose(rel, &r, shown->index, slot);
	if (shown->failure)
	{
		shown->index = newest_live(set);
		row_decode(codec, &set->items[shown->index], slot);
	}
	return true;
}

bool
resolve_row(Relation rel, const TablePolicy *policy, RowCodec *codec, const SiblingSet *set,
			const MergedColumns *merged, TupleTableSlot *slot, Shown *shown)
{
	OwnerContext saved;
	bool		shows;

	*shown = (Shown) {.index = -1};
	if (set->n == 0)
		return false;
	saved = row_codec_runs_code(codec) ? as_owner_begin_code(rel->rd_rel->relowner)
									   : as_owner_begin(rel->rd_rel->relowner);
	shows = resolve_make_row(rel, policy, codec, set, merged, slot, shown);
	as_owner_end(saved);
	return shows;
}
