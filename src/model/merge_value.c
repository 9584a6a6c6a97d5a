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

int
merge_settle(const MergeColumn *c)
{
	static const char *const settings[][2] = {
		{"datestyle", "ISO"}, {"intervalstyle", "postgres"}, {"extra_float_digits", "3"},
		{"timezone", "UTC"}, {"bytea_output", "hex"}, {"lc_monetary", "C"}, {"search_path", "pg_catalog"},
	};
	int			nest;

	if (!c->item_depends)
		return 0;
	nest = NewGUCNestLevel();
	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
								 false);
	return nest;
}

void
merge_unsettle(int nest)
{
	if (nest)
		AtEOXact_GUC(true, nest);
}

char *
merge_item_to_text(const MergeColumn *c, Datum value)
{
	return OutputFunctionCall((FmgrInfo *) &c->item_out, value);
}

Datum
merge_item_from_text(const MergeColumn *c, const char *text)
{
	return InputFunctionCall((FmgrInfo *) &c->item_in, (char *) text, c->item_ioparam, c->typmod);
}
