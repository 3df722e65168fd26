"""How it is put together: profiles and seeds, what a chapter starts from, what is kept, what there is to make."""
