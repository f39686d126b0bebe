"""What a connection that came through none of our endpoints is answered: nothing."""

urlpatterns: list[object] = []
