/*
 * gone_table.h
 *		Gives up what is kept of waiting tables that no member has any more.
 */
#ifndef REPLICATION_PLUGIN_GONE_TABLE_H
#define REPLICATION_PLUGIN_GONE_TABLE_H

#include "base/moment.h"

/* What a park worker knows from earlier rounds. Zero at first. */
typedef struct GoneTables
{
	Moment		asked;			/* 0: not yet */
	int			took_ms;
	int			last_number;	/* of the tables asked about last */
} GoneTables;

/* Gives up their changes, if it is time to ask other members. Call it outside of a transaction. */
extern void gone_table_round(GoneTables *gone);

#endif							/* REPLICATION_PLUGIN_GONE_TABLE_H */
