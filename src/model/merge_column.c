/*
 * merge_column.c
 *		last_write_wins for single columns: the newest of the writes that changed the column is
 *		shown.
 *
 * So concurrent updates of different columns of a row both keep their effect. The value is in the
 * heap row, and the state is its version. While the row is deleted (flag KEPT), the state has the
 * value as well.
 *
 *	state	version, with KEPT: bytes of the value, unless null
 *	op		empty: the value is in the row that comes with it
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/datum.h"

#include "model/merge_kinds.h"

#define KEPT		0x01
#define KEPT_NULL	0x02

/* The state of a column, after reading. */
typedef struct Register
{
	Version		version;
	Datum		value;			/* as shown, or as kept in the state */
	bool		isnull;
} Register;

/* Reads the state, or makes one from the heap row. */
static void
merge_column_load(Register *reg, const MergeCall *call)
{
	MergeReader r;
	int			len;
	const char *text;

	reg->version = merge_implicit_version(call->shown);
	reg->value = call->shown->present ? call->shown->value : (Datum) 0;
	reg->isnull = call->shown->present ? call->shown->isnull : true;
	if (!call->state)
		return;
	merge_read_state(&r, call);
	reg->version = merge_read_version(&r);
	if (r.flags & KEPT)
	{
		reg->isnull = (r.flags & KEPT_NULL) != 0;
		if (!reg->isnull)
		{
			int			nest = merge_settle(call->column);

			text = merge_read_text(&r, &len);
			reg->value = merge_item_from_text(call->column, pnstrdup(text, len));
			merge_unsettle(nest);
		}
	}
	merge_read_end(&r);
}

/* Writes a state. keep: with the value. */
static bytea *
merge_column_store(const Register *reg, const MergeColumn *c, bool keep)
{
	MergeWriter w;
	uint8		flags = 0;

	merge_writer_init(&w);
	merge_write_version(&w, reg->version);
	if (keep)
	{
		flags = KEPT | (reg->isnull ? KEPT_NULL : 0);
		if (!reg->isnull)
		{
			int			nest = merge_settle(c);
			char	   *text = merge_item_to_text(c, reg->value);

			merge_unsettle(nest);
			merge_write_bytes(&w, text, strlen(text));
		}
	}
	return merge_writer_finish(&w, MERGE_STATE(MERGE_LAST_WRITE_WINS), flags);
}

/* Returns a register as the result. */
static void
merge_column_give(const Register *reg, const MergeCall *call, MergeResult *result)
{
	result->state = merge_column_store(reg, call->column, false);
	result->value = reg->value;
	result->isnull = reg->isnull;
}

/*
 * Applies a write of the column. The newer write wins; of the writes of one transaction, the later.
 */
void
merge_column_plain(const MergeCall *call, MergeResult *result)
{
	Register	reg;

	merge_column_load(&reg, call);
	if (version_cmp(call->version, reg.version) >= 0)
		reg = (Register) {call->version, call->value, call->isnull};
	merge_column_give(&reg, call, result);
}

void
merge_column_local(const MergeCall *call, MergeResult *result)
{
	const MergeShown *shown = call->shown;
	MergeWriter w;
	Register	reg;

	if (!call->is_insert && shown->isnull == call->isnull &&
		(call->isnull ||
		 datum_image_eq(shown->value, call->value, call->column->typbyval, call->column->typlen)))
	{
		merge_column_load(&reg, call);
		merge_column_give(&reg, call, result);
		return;
	}
	merge_column_plain(call, result);
	merge_writer_init(&w);
	result->op = merge_writer_finish(&w, MERGE_OP(MERGE_LAST_WRITE_WINS), 0);
}

void
merge_column_apply(const MergeCall *call, MergeReader *op, MergeResult *result)
{
	Register	reg;

	if (op)
	{
		merge_read_end(op);
		merge_column_plain(call, result);
		return;
	}
	merge_column_load(&reg, call);
	merge_column_give(&reg, call, result);
}

bytea *
merge_column_keep(const MergeCall *call)
{
	Register	reg;

	merge_column_load(&reg, call);
	return merge_column_store(&reg, call->column, true);
}
