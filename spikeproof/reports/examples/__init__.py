"""What do single images and recordings look like, before and after an attack?"""
