/*
 * gone_table.h
 *		Tables that wait and that no member has any more.
 */
#ifndef REPLICATION_PLUGIN_GONE_TABLE_H
#define REPLICATION_PLUGIN_GONE_TABLE_H

/* Gives up what is kept of them, if it is time to ask other members. Outside of transactions. */
extern void gone_table_round(void);

#endif							/* REPLICATION_PLUGIN_GONE_TABLE_H */
