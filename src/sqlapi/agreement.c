/*
 * agreement.c
 *		SQL functions about the version of this library, and what the group has agreed on.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"

#include "catalog/agreement.h"
#include "wire/protocol.h"

PG_FUNCTION_INFO_V1(replication_plugin_this_library);
PG_FUNCTION_INFO_V1(replication_plugin_group_protocol);
PG_FUNCTION_INFO_V1(replication_plugin_require_feature);

/*
 * this_library() → (version text, oldest_protocol integer, newest_protocol integer, features text)
 */
Datum
replication_plugin_this_library(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Datum		values[4];
	bool		nulls[4] = {false, false, false, false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = CStringGetTextDatum(EXTENSION_VERSION);
	values[1] = Int32GetDatum(WIRE_PROTOCOL_OLDEST);
	values[2] = Int32GetDatum(WIRE_PROTOCOL_VERSION);
	values[3] = CStringGetTextDatum(feature_names());
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}

/* group_protocol() → integer */
Datum
replication_plugin_group_protocol(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(group_protocol());
}

/* require_feature(name text) → void: raises an error unless the group has agreed on the feature */
Datum
replication_plugin_require_feature(PG_FUNCTION_ARGS)
{
	feature_require(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_VOID();
}
