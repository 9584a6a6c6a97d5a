/*
 * merge_value.c
 *		Values in states and ops: the type's text, which every server with that type understands.
 *
 * Not the type's binary form: that has oids of types in it for composites, and the session's client encoding for
 * strings. Text of most types is the same under all settings; for the others they are set to what
 * reads the same everywhere.
 */
#include "postgres.h"

#include "utils/guc.h"

#include "model/merge_kinds.h"

/* Sets what the text of a value may depend on; returns what AtEOXact_GUC takes to undo it. */
static int
settle(void)
{
	static const char *const settings[][2] = {
		{"datestyle", "ISO"}, {"intervalstyle", "postgres"}, {"extra_float_digits", "3"},
		{"timezone", "UTC"}, {"bytea_output", "hex"}, {"lc_monetary", "C"}, {"search_path", "pg_catalog"},
	};
	int			nest = NewGUCNestLevel();

	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
								 false);
	return nest;
}

char *
merge_item_to_text(const MergeColumn *c, Datum value)
{
	int			nest = c->item_depends ? settle() : 0;
	char	   *text = OutputFunctionCall((FmgrInfo *) &c->item_out, value);

	if (nest)
		AtEOXact_GUC(true, nest);
	return text;
}

Datum
merge_item_from_text(const MergeColumn *c, const char *text)
{
	int			nest = c->item_depends ? settle() : 0;
	int32		typmod = c->kind == MERGE_MAP ? -1 : c->typmod;
	Datum		value = InputFunctionCall((FmgrInfo *) &c->item_in, (char *) text, c->item_ioparam, typmod);

	if (nest)
		AtEOXact_GUC(true, nest);
	return value;
}
