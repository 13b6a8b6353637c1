"""How the embedded demo is made: from the packages that hold its pictures to a measured pipeline directory."""
