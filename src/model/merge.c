/*
 * merge.c
 *		Merged columns: the kinds by name and type, and the dispatch to the file of each kind.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "base/session.h"
#include "model/merge_kinds.h"
#include "model/merge_number.h"

static const char *const kind_names[] = {
	[MERGE_LAST_WRITE_WINS] = "last_write_wins",
	[MERGE_COUNTER] = "counter",
	[MERGE_SET] = "set",
	[MERGE_MAP] = "map",
};

const char *
merge_kind_name(MergeKind kind)
{
	return kind_names[kind];
}

bool
merge_kind_parse(const char *text, MergeKind *kind)
{
	for (int i = 0; i < lengthof(kind_names); i++)
	{
		if (strcmp(text, kind_names[i]) == 0)
		{
			*kind = (MergeKind) i;
			return true;
		}
	}
	return false;
}

/* ---------- types and values ---------- */

/* Returns why arrays of a type cannot merge as sets, palloc'd; NULL if they can. */
static char *
check_set_type(Oid typid)
{
	Oid			element = get_element_type(typid);

	if (!OidIsValid(element) || typid == INT2VECTOROID || typid == OIDVECTOROID)
		return psprintf("a set needs an array type, not %s", format_type_be(typid));
	if (!OidIsValid(lookup_type_cache(element, TYPECACHE_EQ_OPR)->eq_opr))
		return psprintf("a set needs elements that can be compared: type %s has no equality operator",
						format_type_be(element));
	return NULL;
}

char *
merge_check_type(MergeKind kind, Oid typid)
{
	switch (kind)
	{
		case MERGE_LAST_WRITE_WINS:
			return NULL;
		case MERGE_COUNTER:
			if (typid == INT2OID || typid == INT4OID || typid == INT8OID || typid == NUMERICOID)
				return NULL;
			return psprintf("a counter needs type smallint, integer, bigint or numeric, whose sums are exact, not %s",
							format_type_be(typid));
		case MERGE_SET:
			return check_set_type(typid);
		case MERGE_MAP:
			return typid == JSONBOID
					   ? NULL
					   : psprintf("a map needs type jsonb, not %s", format_type_be(typid));
	}
	return NULL;
}

char *
merge_check_value(const MergeColumn *c, Datum value, bool isnull)
{
	if (c->kind == MERGE_SET && !isnull)
	{
		int			ndim = AARR_NDIM(DatumGetAnyArrayP(value));

		if (ndim > 1)
			return psprintf("an array of %d dimensions is not a set", ndim);
	}
	return NULL;
}

/* Returns true for types whose text form is the same under all settings. */
static bool
has_one_text(Oid typid)
{
	switch (typid)
	{
		case BOOLOID:
		case CHAROID:
		case NAMEOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case NUMERICOID:
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case UUIDOID:
		case JSONOID:
		case JSONBOID:
		case INETOID:
		case CIDROID:
			return true;
		default:
			return get_typtype(typid) == TYPTYPE_ENUM;
	}
}

void
merge_column_init(MergeColumn *c, MergeKind kind, Oid typid, int32 typmod, Oid collation)
{
	Oid			function,
				base;
	bool		is_varlena;

	*c = (MergeColumn){.kind = kind,
					   .typid = typid,
					   .typmod = typmod,
					   .item_typmod = typmod,
					   .collation = collation};
	get_typlenbyval(typid, &c->typlen, &c->typbyval);
	c->item_type = kind == MERGE_SET ? get_element_type(typid) : typid;
	get_typlenbyvalalign(c->item_type, &c->item_len, &c->item_byval, &c->item_align);
	/* the base type will do, as the domain has checked the value when it was written */
	base = getBaseTypeAndTypmod(c->item_type, &c->item_typmod);
	getTypeInputInfo(base, &function, &c->item_ioparam);
	fmgr_info(function, &c->item_in);
	getTypeOutputInfo(base, &function, &is_varlena);
	fmgr_info(function, &c->item_out);
	c->item_depends = !has_one_text(base);
	c->item_names_objects = session_type_names_objects(base);
	if (kind == MERGE_SET)
	{
		TypeCacheEntry *t =
			lookup_type_cache(c->item_type,
							  TYPECACHE_EQ_OPR_FINFO | TYPECACHE_HASH_PROC | TYPECACHE_CMP_PROC);

		fmgr_info(t->eq_opr_finfo.fn_oid, &c->item_equal);
		if (OidIsValid(t->hash_proc))
			fmgr_info(t->hash_proc, &c->item_hash);
		else if (OidIsValid(t->cmp_proc))
			fmgr_info(t->cmp_proc, &c->item_cmp);
	}
	if (kind == MERGE_COUNTER)
		merge_number_limits(c);
}

/* ---------- dispatch to the kinds ---------- */

/*
 * Returns true if a state or an op belongs to another kind. That happens only if two nodes set
 * different merges for a column at the same time, and one of the two was kept.
 */
static bool
is_foreign(const char *data, int len, uint8 first, uint8 mine)
{
	uint8		tag = len > 0 ? (uint8) *data : mine;

	return tag != mine && tag >= first && tag <= first + MERGE_MAP;
}

/* Returns a state detoasted; NULL if there is none, or it belongs to another kind. */
static bytea *
merge_flat(const MergeColumn *c, bytea *state)
{
	bytea	   *bytes = state ? DatumGetByteaPP(PointerGetDatum(state)) : NULL;

	return bytes && !is_foreign(VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes), MERGE_STATE(0),
								MERGE_STATE(c->kind))
			   ? bytes
			   : NULL;
}

/*
 * Pins the settings on which text forms depend, for the kinds that always write and read texts.
 * Returns a nest level.
 */
static int
merge_decide(const MergeColumn *c)
{
	return c->kind == MERGE_LAST_WRITE_WINS ? 0 : merge_settle(c);
}

void
merge_local(const MergeColumn *c, bytea *state, const MergeShown *shown, Datum value, bool isnull,
			bool is_insert, NodeId me, const Frontier *seen, MergeResult *result)
{
	MergeCall	call = {c,	merge_flat(c, state), shown, value, isnull, is_insert,
						me, VERSION_SELF,		  seen};
	int			nest = merge_decide(c);

	*result = (MergeResult) {0};
	switch (c->kind)
	{
		case MERGE_LAST_WRITE_WINS:
			merge_column_local(&call, result);
			break;
		case MERGE_COUNTER:
			merge_counter_local(&call, result);
			break;
		case MERGE_SET:
		case MERGE_MAP:
			merge_items_local(&call, result);
			break;
	}
	merge_unsettle(nest);
	result->rewrite = result->isnull != isnull ||
		(!isnull && !datum_image_eq(result->value, value, c->typbyval, c->typlen));
}

void
merge_apply(const MergeColumn *c, bytea *state, const MergeShown *shown, const char *op, int oplen,
			Datum value, bool isnull, Version version, const Frontier *seen, MergeResult *result)
{
	MergeCall	call = {c,		merge_flat(c, state), shown,	   value,
						isnull, .version = version,	  .seen = seen};
	MergeReader reader,
			   *r = NULL;
	int			nest;

	if (is_foreign(op, oplen, MERGE_OP(0), MERGE_OP(c->kind)))
	{
		merge_apply_plain(c, state, shown, value, isnull, version, result);
		return;
	}
	nest = merge_decide(c);
	*result = (MergeResult) {0};
	if (oplen > 0)
		merge_reader_init(r = &reader, op, oplen, MERGE_OP(c->kind), version);
	switch (c->kind)
	{
		case MERGE_LAST_WRITE_WINS:
			merge_column_apply(&call, r, result);
			break;
		case MERGE_COUNTER:
			merge_counter_apply(&call, r, result);
			break;
		case MERGE_SET:
		case MERGE_MAP:
			merge_items_apply(&call, r, result);
			break;
	}
	merge_unsettle(nest);
}

void
merge_apply_plain(const MergeColumn *c, bytea *state, const MergeShown *shown, Datum value,
				  bool isnull, Version version, MergeResult *result)
{
	MergeCall	call = {c, merge_flat(c, state), shown, value, isnull,.version = version};
	int			nest = merge_decide(c);

	*result = (MergeResult) {0};
	switch (c->kind)
	{
		case MERGE_LAST_WRITE_WINS:
			merge_column_plain(&call, result);
			break;
		case MERGE_COUNTER:
			merge_counter_plain(&call, result);
			break;
		case MERGE_SET:
		case MERGE_MAP:
			merge_items_plain(&call, result);
			break;
	}
	merge_unsettle(nest);
}

bytea *
merge_keep(const MergeColumn *c, bytea *state, const MergeShown *shown)
{
	MergeCall	call = {c, merge_flat(c, state), shown,.version = VERSION_SELF};
	int			nest = merge_decide(c);
	bytea	   *kept = NULL;

	switch (c->kind)
	{
		case MERGE_LAST_WRITE_WINS:
			kept = merge_column_keep(&call);
			break;
		case MERGE_COUNTER:
			kept = merge_counter_keep(&call);
			break;
		case MERGE_SET:
		case MERGE_MAP:
			kept = merge_items_keep(&call);
			break;
	}
	merge_unsettle(nest);
	return kept;
}

bytea *
merge_state_trim(const MergeColumn *c, bytea *state, const Frontier *through)
{
	MergeShown	none = {false};
	MergeCall	call = {c, merge_flat(c, state), &none,.version = VERSION_SELF,.seen = through};

	return call.state && c->kind == MERGE_COUNTER ? merge_counter_trim(&call) : call.state;
}
