/*
 * merge_read.c
 *		Reading common to the kinds of merged columns: the beginning of a state, and lists of
 *		items.
 */
#include "postgres.h"

#include "model/merge_items.h"

void
merge_read_state(MergeReader *r, const MergeCall *call)
{
	merge_reader_init(r, VARDATA_ANY(call->state), VARSIZE_ANY_EXHDR(call->state),
					  MERGE_STATE(call->column->kind), VERSION_SELF);
	if (r->unresolved && version_cmp(call->version, VERSION_SELF) != 0)
		merge_malformed(r, "a state of another transaction has no version yet");
}

void
merge_items_add(MergeItems *items, MergeItem item)
{
	if (items->n == items->room)
	{
		items->room = Max(8, items->room * 2);
		items->list = items->list ? repalloc(items->list, items->room * sizeof(MergeItem)) :
			palloc(items->room * sizeof(MergeItem));
	}
	items->list[items->n++] = item;
}
