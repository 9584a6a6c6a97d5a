/*
 * options.h
 *		Options of the output plugin.
 */
#ifndef REPLICATION_PLUGIN_OUTPUT_OPTIONS_H
#define REPLICATION_PLUGIN_OUTPUT_OPTIONS_H

#include "nodes/pg_list.h"
#include "model/version.h"

typedef struct OutputOptions
{
	bool		json;			/* format 'json' */

	/* our own stream */
	int			protocol;
	NodeId		subscriber;
	char	   *group_id;
	bool		all_origins;	/* full_origins 'all' */
	List	   *full_origins;	/* of int, besides the provider's own */
	char	   *layout;
	char	   *encoding;

	/* JSON */
	List	   *include_tables; /* patterns schema.table; NIL: all */
	List	   *exclude_tables;
	bool		include_xids;
	bool		include_timestamp;
	bool		include_lsn;
	bool		include_types;
} OutputOptions;

/* Reads the options of a slot function or START_REPLICATION (List of DefElem). */
extern void options_parse(OutputOptions *o, List *defs);

#endif							/* REPLICATION_PLUGIN_OUTPUT_OPTIONS_H */
