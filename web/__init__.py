"""What people outside reach over HTTP. Imports models only; commits rows, and flows find them."""
