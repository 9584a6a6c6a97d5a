/*
 * options.h
 *		The options with which a subscriber starts the output plugin.
 */
#ifndef REPLICATION_PLUGIN_OPTIONS_H
#define REPLICATION_PLUGIN_OPTIONS_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"

#include "model/version.h"

/* Options of subscribers of the group. */
typedef struct NativeOptions
{
	int			protocol;		/* which both ends of the stream speak */
	NodeId		subscriber;
	char	   *group_id;
	bool		internal;		/* same memory layout: WIRE_INTERNAL */
	bool		all_origins;	/* every origin in full */
	List	   *full_origins;	/* otherwise these (node numbers), besides the provider's own */
	int			nskip;
	XLogRecPtr *skip;			/* transactions that the subscriber skips, by their origins' LSNs */
} NativeOptions;

/* Returns true if a transaction is to be skipped. */
static inline bool
options_skip(const NativeOptions *options, XLogRecPtr lsn)
{
	for (int i = 0; i < options->nskip; i++)
	{
		if (options->skip[i] == lsn)
			return true;
	}
	return false;
}

/* Options of other readers. Names and defaults are wal2json's where the meaning is the same. */
typedef struct JsonOptions
{
	bool		include_xids;
	bool		include_timestamp;
	bool		include_lsn;
	/* origin as in wal2json: the number of the replication origin */
	bool		include_origin;
	bool		include_origin_node;	/* origin_node and origin_lsn */
	bool		include_schemas;
	bool		include_types;
	bool		include_typmod;
	bool		include_type_oids;
	bool		include_positions;
	bool		include_pk;
	bool		include_transaction;	/* begin and commit */
	bool		include_base_types; /* of a domain: its base type */
	bool		include_not_null;
	bool		include_default;
	bool		numbers_as_strings;
	bool		skip_empty;		/* omit begin and commit of empty transactions */
	bool		hide_insert;	/* actions that are not requested */
	bool		hide_update;
	bool		hide_delete;
	bool		hide_truncate;
	List	   *filter_origins; /* of int: changes of these replication origins are not shown */
	bool		select_prefixes;	/* only messages of add_prefixes are shown */
	List	   *add_prefixes;	/* of char * */
	List	   *filter_prefixes;
	List	   *include_tables; /* of TablePattern; NIL: all */
	List	   *exclude_tables;
} JsonOptions;

/*
 * Returns true if the options request format 'json', or contain an option that only readers of JSON
 * use. Raises an error for any other format except 'native'.
 */
extern bool options_want_json(List *options);

/* Both raise an error for an option that is unknown, missing or malformed. */
extern void options_parse_native(List *options, NativeOptions *result);
extern void options_parse_json(List *options, JsonOptions *result);

#endif							/* REPLICATION_PLUGIN_OPTIONS_H */
