-- The event triggers need a superuser; without one the source is asked again and again instead (tidemark.repair).
CREATE EVENT TRIGGER tidemark_ddl ON ddl_command_end EXECUTE FUNCTION tidemark.on_ddl();
-- In front of the next, by its name.
CREATE EVENT TRIGGER tidemark_before_drop ON sql_drop EXECUTE FUNCTION tidemark.on_before_drop();
CREATE EVENT TRIGGER tidemark_drop ON sql_drop EXECUTE FUNCTION tidemark.on_drop();
CREATE EVENT TRIGGER tidemark_rewrite ON table_rewrite EXECUTE FUNCTION tidemark.on_rewrite();
ALTER EVENT TRIGGER tidemark_ddl ENABLE ALWAYS;
ALTER EVENT TRIGGER tidemark_before_drop ENABLE ALWAYS;
ALTER EVENT TRIGGER tidemark_drop ENABLE ALWAYS;
ALTER EVENT TRIGGER tidemark_rewrite ENABLE ALWAYS;
