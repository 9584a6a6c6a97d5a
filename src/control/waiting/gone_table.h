/*
 * gone_table.h
 *		Gives up what is kept of waiting tables that no member has any more.
 */
#ifndef REPLICATION_PLUGIN_GONE_TABLE_H
#define REPLICATION_PLUGIN_GONE_TABLE_H

/* Gives up their changes, if it is time to ask other members. Call it outside of a transaction. */
extern void gone_table_round(void);

#endif							/* REPLICATION_PLUGIN_GONE_TABLE_H */
