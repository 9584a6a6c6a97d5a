/*
 * merge_value.c
 *		Values in states and ops: the text form of the type, which every server with that type can
 *		read.
 *
 * The binary form will not do: it contains OIDs of types for composites, and the session's client
 * encoding for strings. The text form of most types is the same under all settings. For the other
 * types, the settings are pinned to values that read the same everywhere.
 */
#include "postgres.h"

#include "base/session.h"
#include "model/merge_kinds.h"

int
merge_settle(const MergeColumn *c)
{
	return c->item_depends ? session_pin_text(c->item_names_objects) : 0;
}

void
merge_unsettle(int nest)
{
	session_unpin(nest);
}

char *
merge_item_to_text(const MergeColumn *c, Datum value)
{
	return OutputFunctionCall((FmgrInfo *) &c->item_out, value);
}

Datum
merge_item_from_text(const MergeColumn *c, const char *text)
{
	return InputFunctionCall((FmgrInfo *) &c->item_in, (char *) text, c->item_ioparam,
							 c->item_typmod);
}
